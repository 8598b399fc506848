// A browser telephone with JsSIP, under Node: it watches somebody, refreshes, and stops. Arguments,
// input and output are those of sipjs.mjs; it publishes nothing, which JsSIP cannot. By itself it
// refreshes five seconds before the end, which must not meet its own unsubscription.
import { createInterface } from "node:readline";
import JsSIP from "jssip";
import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
const [server, domain, watcher, watched, password] = process.argv.slice(2);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const ua = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(server)], uri: `sip:${watcher}@${domain}`, authorization_user: watcher, password, register: false,
});
const connected = new Promise(done => ua.on("connected", done));
for (const event of ["connected", "disconnected"]) ua.on(event, () => console.log(event));
ua.start();
await connected;
const subscription = ua.subscribe(`sip:${watched}@${domain}`, "presence", "application/pidf+xml", { expires: 60, params: null });
const terminated = new Promise(done => subscription.on("terminated", done));
subscription.on("accepted", () => console.log("subscription Subscribed"));
subscription.on("notify", (_final, request, body) => {
  const note = /<rpid:note[^>]*>([^<]*)</.exec(body ?? "")?.[1];
  console.log(`NOTIFY ${request.getHeader("Subscription-State")} ${note}`);
});
subscription.subscribe();
console.log("watches");
await input.next();
subscription.subscribe();
await input.next();
subscription.terminate();
await terminated;
ua.stop();
console.log("end");
process.exit(0);
