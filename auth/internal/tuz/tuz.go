// Package tuz is the vendor's cipher, that of encrypted configuration files (.tuz). The
// container is a signature, a pad count, and triple-DES blocks in ECB mode, of which
// the first two are a known header.
package tuz

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Errors of Decrypt.
var (
	ErrKey  = errors.New("tuz: another key")
	ErrForm = errors.New("tuz: not a container")
)

const (
	signature = "\x55\x42\x43\x7f\x80\xf8\x5c\x98\x0f\xfc\xaf\x26\x9e\xda\x16\x8d"
	header    = "Tuzo v1.3 rev1 \x00"
	// magic is how the header of every version begins.
	magic = "Tuzo v"
	// bodyAt is where the encrypted part begins: signature and pad count.
	bodyAt = len(signature) + 1
)

// Encrypt returns a whole container. Only the first 48 bytes of the key count.
// The plaintext should not end in NUL bytes, which are what pads it.
func Encrypt(key string, plaintext []byte) ([]byte, error) {
	pad := (des.BlockSize - len(plaintext)%des.BlockSize) % des.BlockSize
	out := make([]byte, 0, bodyAt+len(header)+len(plaintext)+pad)
	out = append(out, signature...)
	out = append(out, byte(pad))
	out = append(out, header...)
	out = append(out, plaintext...)
	out = append(out, make([]byte, pad)...)
	block, err := newBlock(key)
	if err != nil {
		return nil, err
	}
	crypt(block.Encrypt, out[bodyAt:])
	return out, nil
}

// Decrypt returns the text, or wraps [ErrForm] for what is no container, or is
// [ErrKey] where the decrypted header is not that of one.
func Decrypt(key string, container []byte) ([]byte, error) {
	body := len(container) - bodyAt
	if body < len(header) || body%des.BlockSize != 0 || string(container[:len(signature)]) != signature {
		return nil, ErrForm
	}
	pad := int(container[bodyAt-1])
	if pad >= des.BlockSize || body-len(header) < pad {
		return nil, fmt.Errorf("%w: pad count", ErrForm)
	}
	block, err := newBlock(key)
	if err != nil {
		return nil, err
	}
	text := bytes.Clone(container[bodyAt:])
	// Another key shows in the first block, so that it costs no more than that.
	crypt(block.Decrypt, text[:des.BlockSize])
	if !bytes.HasPrefix(text, []byte(magic)) {
		clear(text)
		return nil, ErrKey
	}
	crypt(block.Decrypt, text[des.BlockSize:])
	return text[len(header) : len(text)-pad], nil
}

func newBlock(key string) (cipher.Block, error) {
	keys := keysOf(key)
	defer clear(keys[:])
	block, err := des.NewTripleDESCipher(keys[:])
	if err != nil {
		return nil, fmt.Errorf("tuz: %w", err)
	}
	return block, nil
}

// crypt encrypts or decrypts whole blocks in place. The block cipher is DES, or triple DES
// (EDE), without DES's initial permutation IP and final permutation FP. FP is the inverse
// of IP, so what the ordinary cipher does too much is undone by FP before and IP after;
// between the three rounds they cancel.
func crypt(by func(dst, src []byte), blocks []byte) {
	for b := blocks; len(b) > 0; b = b[des.BlockSize:] {
		binary.BigEndian.PutUint64(b, permute(binary.BigEndian.Uint64(b), finalPermutation[:]))
		by(b, b[:des.BlockSize])
		binary.BigEndian.PutUint64(b, permute(binary.BigEndian.Uint64(b), initialPermutation[:]))
	}
}

// keysOf derives the three DES keys from the challenge key. One buffer runs
// through all of it; each key starts over at the front of the password.
func keysOf(key string) (out [24]byte) {
	var padded [48]byte
	copy(padded[:], key)
	defer clear(padded[:])
	var buffer [8]byte
	for i, core := range cores() {
		if i%6 == 0 && i > 0 {
			spread(out[i/6*8-8:], buffer[:])
		}
		for j := range buffer {
			buffer[j] ^= padded[i%6*8+j]
		}
		crypt(core.Encrypt, buffer[:])
	}
	spread(out[16:], buffer[:])
	clear(buffer[:])
	return out
}

// cores are DES under each of the constants. They are made once: their key schedules would
// be most of the work for every key that is tried.
var cores = sync.OnceValue(func() (blocks [len(constants)]cipher.Block) {
	for i, constant := range constants {
		var key [8]byte
		spread(key[:], binary.BigEndian.AppendUint64(nil, constant<<8))
		block, err := des.NewCipher(key[:])
		if err != nil {
			panic(err) // only for a key that is not 8 bytes long
		}
		blocks[i] = block
	}
	return blocks
})

// spread lays the first 56 bits of a buffer out as a DES key, through the
// inverse of DES's permuted choice 1, which this cipher does not have.
func spread(dst, key []byte) {
	from, to := binary.BigEndian.Uint64(key), uint64(0)
	for i, place := range permutedChoice1 {
		to |= from >> (63 - i) & 1 << (64 - place)
	}
	binary.BigEndian.PutUint64(dst, to)
}

// permute moves bit table[i] of a block to place i, bits counted from 1 at the
// most significant, as FIPS 46 does.
func permute(block uint64, table []uint8) (out uint64) {
	for _, from := range table {
		out = out<<1 | block>>(64-from)&1
	}
	return out
}

// The constants of the key derivation, 56 bits each: six for each key.
var constants = [18]uint64{
	0xa0534dd825c396, 0xac1e9e81a8c300, 0x8fa32580e288fc, 0x685195c4edf89c, 0xd37bb74c69d5a6, 0x5e7a71cc434e5e,
	0xa687e081e39c0f, 0x9939d29d5e6733, 0xe9f571a1e37bea, 0x2b2ca781d302a1, 0x33aa27789a2109, 0x5953440b2a5510,
	0xa1654bcf1c9413, 0x827345a70ab078, 0x38cca8a46f0253, 0x0d09f0d4658a60, 0x0e42522927ca17, 0xe1b5d2b92b7749,
}

// The permutations of FIPS 46-3.
var (
	initialPermutation = [64]uint8{
		58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4,
		62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
		57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3,
		61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
	}
	finalPermutation = [64]uint8{
		40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31,
		38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
		36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
		34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
	}
	permutedChoice1 = [56]uint8{
		57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18,
		10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
		63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22,
		14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
	}
)
