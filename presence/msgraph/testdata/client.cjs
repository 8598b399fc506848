// What the client library of Microsoft makes of the server of our tests: one line for each thing that it was asked.
const { Client, PageIterator, GraphError } = require("@microsoft/microsoft-graph-client");
const [base, tenant, app, secret, tom, meg] = process.argv.slice(2);

async function token() {
  const answer = await fetch(`${base}${tenant}/oauth2/v2.0/token`, {
    method: "POST",
    body: new URLSearchParams({ client_id: app, client_secret: secret, grant_type: "client_credentials", scope: base + ".default" }),
  });
  return (await answer.json()).access_token;
}

async function failure(what, f) {
  try {
    console.log(what, await f());
  } catch (e) {
    console.log(what, e instanceof GraphError, e.statusCode, e.code, Boolean(e.requestId));
  }
}

async function main() {
  const value = await token();
  const client = Client.init({ baseUrl: base, defaultVersion: "v1.0", customHosts: new Set(["127.0.0.1"]), authProvider: (done) => done(null, value) });
  const window = { startDateTime: "2026-11-26T00:00:00Z", endDateTime: "2026-11-27T00:00:00Z" };
  const prefer = ["Prefer", 'outlook.timezone="UTC", IdType="ImmutableId"'];

  for (const path of ["calendarView", "calendarView/delta"]) {
    const found = [];
    const first = await client.api(`/users/${tom}/${path}`).query(window).header(...prefer).get();
    const pages = new PageIterator(client, first, (e) => found.push(`${e.id} ${e.showAs} ${e.start.dateTime} ${e.start.timeZone}`) > 0);
    await pages.iterate();
    console.log(path, found.join("; "), pages.isComplete());
    if (pages.getDeltaLink()) console.log("next round", (await client.api(pages.getDeltaLink()).get()).value.length);
  }
  await failure("old token", () => client.api(`/users/${tom}/calendarView/delta?$deltatoken=old`).get());
  await failure("no window", () => client.api(`/users/${tom}/calendarView`).get());
  await failure("no such user", () => client.api("/users/nobody@contoso.example/calendarView").query(window).header(...prefer).get());

  const schedule = await client.api(`/users/${tom}/calendar/getSchedule`).post({
    schedules: ["tom.hanks@contoso.example", "nobody@contoso.example"], availabilityViewInterval: 60,
    startTime: { dateTime: "2026-11-26T00:00:00", timeZone: "UTC" }, endTime: { dateTime: "2026-11-27T00:00:00", timeZone: "UTC" },
  });
  console.log("getSchedule", schedule.value.map((s) => `${s.scheduleId} ${s.scheduleItems.length} ${s.error?.responseCode}`).join("; "));

  console.log("user", (await client.api("/users/tom.hanks@contoso.example").select("id").get()).id === tom);
  const mail = "Meg.O''Ryan@contoso.example";
  const users = await client.api("/users").filter(`mail eq '${mail}' or proxyAddresses/any(p:p eq 'smtp:${mail}')`).select("id").get();
  console.log("users", users.value.length, users.value[0].id === meg);

  const presence = async () => {
    const answer = await client.api("/communications/getPresencesByUserId").post({ ids: [tom, meg] });
    return answer.value.map((p) => `${p.id === tom ? "tom" : "meg"} ${p.availability}/${p.activity}`).sort().join("; ");
  };
  console.log("presence", await presence());
  const session = { sessionId: app, availability: "Busy", activity: "InACall", expirationDuration: "PT5M" };
  await client.api(`/users/${tom}/presence/setPresence`).post(session);
  console.log("presence", await presence());
  await failure("not allowed", () => client.api(`/users/${tom}/presence/setPresence`).post({ ...session, activity: "InAMeeting" }));
  await client.api(`/users/${tom}/presence/clearPresence`).post({ sessionId: app });
  console.log("presence", await presence());
  await failure("no session", () => client.api(`/users/${tom}/presence/clearPresence`).post({ sessionId: app }));

  const stranger = Client.init({ baseUrl: base, defaultVersion: "v1.0", customHosts: new Set(["127.0.0.1"]), authProvider: (done) => done(null, "wrong") });
  await failure("wrong token", () => stranger.api("/users/x").get());
}

main().catch((e) => { console.log(e); process.exit(1); });
