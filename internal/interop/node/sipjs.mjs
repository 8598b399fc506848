// A browser telephone with SIP.js, under Node: it watches somebody, refreshes, publishes in
// their name, and stops. Its arguments are the server, the domain, the watcher, the watched and
// the password of both. Each line of its output is a step; each line of its input lets it
// go on.
import { createInterface } from "node:readline";
import { Publisher, Subscriber, UserAgent } from "sip.js";
import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
const [server, domain, watcher, watched, password] = process.argv.slice(2);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const step = async text => { console.log(text); await input.next(); };

async function agent(user) {
  const ua = new UserAgent({
    uri: UserAgent.makeURI(`sip:${user}@${domain}`), authorizationUsername: user, authorizationPassword: password,
    transportOptions: { server }, logLevel: "warn",
  });
  await ua.start();
  return ua;
}

const document = (basic, note) => `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:${watched}@${domain}">` +
  `<tuple id="t1"><status><basic>${basic}</basic></status><note>${note}</note></tuple></presence>`;

const ann = await agent(watcher), tom = await agent(watched);
const target = UserAgent.makeURI(`sip:${watched}@${domain}`);
const subscription = new Subscriber(ann, target, "presence", { expires: 60, extraHeaders: ["Accept: application/pidf+xml"] });
subscription.delegate = {
  onNotify(notification) {
    notification.accept();
    const { request } = notification;
    const note = /<rpid:note[^>]*>([^<]*)</.exec(request.body ?? "")?.[1];
    console.log(`NOTIFY ${request.getHeader("Subscription-State")} ${note}`);
  },
};
subscription.stateChange.addListener(state => console.log(`subscription ${state}`));
await subscription.subscribe();
await step("watches");
await subscription.subscribe(); // again: a refresh
await step("refreshes");
const publication = new Publisher(tom, target, "presence", { contentType: "application/pidf+xml", expires: 60 });
for (const [basic, note] of [["open", "one"], ["open", "two"]]) {
  await publication.publish(document(basic, note));
  await step(`published ${note}`);
}
await publication.unpublish();
await step("unpublished");
await subscription.unsubscribe();
await step("unsubscribed");
await publication.dispose();
await ann.stop();
await tom.stop();
console.log("end");
process.exit(0);
