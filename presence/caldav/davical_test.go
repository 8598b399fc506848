package caldav_test

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startDAViCal starts DAViCal in PHP's own web server, on a database of its own.
func startDAViCal(t *testing.T) *davServer {
	php, pages := installed(t, "php", "php-cli"), "/usr/share/davical/htdocs"
	text, err := os.ReadFile("/etc/davical/config.php")
	if err != nil {
		missing(t, "DAViCal is not installed (Debian: davical)")
	}
	// The file is one for the whole machine. As Debian brings it, PGHOST says where the database is.
	for _, line := range regexp.MustCompile(`(?m)^\s*\$c->pg_connect.*$`).FindAllString(string(text), -1) {
		if strings.TrimSpace(line) != `$c->pg_connect[] = "dbname=davical user=davical_app";` {
			missing(t, "DAViCal has a database here that the test must not touch")
		}
	}
	return startServer(t, "env", "/caldav.php/tom/", 700, func(_, host string) []string {
		return []string{"PGHOST=" + davicalDatabase(t), php, "-d", "display_errors=0", "-S", host, "-t", pages}
	})
}

// davicalDatabase starts PostgreSQL with the tables of DAViCal and its user Tom, listening in a folder
// alone, which it returns. It does not run as root: for root it runs as the user postgres.
func davicalDatabase(t *testing.T) string {
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if programs == nil {
		missing(t, "PostgreSQL is not installed (Debian: postgresql)")
	}
	bin := filepath.Dir(programs[len(programs)-1])
	folder, err := os.MkdirTemp("/tmp", "davical") // others may go there, and the path of a socket must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	var as []string
	if os.Getuid() == 0 {
		postgres, err := user.Lookup("postgres")
		require.NoError(t, err)
		uid, err := strconv.Atoi(postgres.Uid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(folder, uid, -1))
		as = []string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "PGHOST="+folder, "PGUSER=postgres", "PGOPTIONS=--client-min-messages=warning")
		return cmd
	}
	run := func(args ...string) {
		t.Helper()
		out, err := command(args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	run(append(as, bin+"/initdb", "-D", folder+"/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")...)
	// timeout(1) ends it, should the test be killed.
	server := command(append(append([]string{"timeout", "--foreground", "300"}, as...),
		bin+"/postgres", "-D", folder+"/data", "-k", folder, "-c", "listen_addresses=", "-F")...)
	server.WaitDelay = 5 * time.Second
	var log strings.Builder
	server.Stdout, server.Stderr = &log, &log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait() // interrupted
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool { return command(bin+"/pg_isready", "-q").Run() == nil },
		time.Minute, 20*time.Millisecond, "PostgreSQL does not start")
	run("sh", "/usr/share/davical/dba/create-database.sh", "davical", "unused")
	run(bin+"/psql", "-q", "-v", "ON_ERROR_STOP=1", "davical", "-c",
		"INSERT INTO dav_principal (username, password, displayname, email, type_id) VALUES ('tom', '**right password', 'Tom', 'tom.hanks@example.com', 1)")
	return folder
}
