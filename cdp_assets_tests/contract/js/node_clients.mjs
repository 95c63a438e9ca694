// Sends each kind of call with a client for node: node node_clients.mjs CLIENT COLLECTOR KEY
import { createRequire } from "node:module";

const [client, collector, key] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const at = (kind) => ({ userId: "user-1", anonymousId: "anon-1", context: { mark: `${client} ${kind}` } });
const calls = [
  ["track", { ...at("track"), event: "Order Completed", properties: { total: 9.9, big: "9007199254740993" } }],
  ["track", { ...at("past"), event: "Imported", timestamp: new Date("2026-01-02T03:04:05.678Z") }],
  ["identify", { ...at("identify"), traits: { email: "jane@example.com" } }],
  ["page", { ...at("page"), name: "Home", properties: { url: "https://shop.example/" } }],
  ["screen", { ...at("screen"), name: "Start" }],
  ["group", { ...at("group"), groupId: "g1", traits: { name: "Acme" } }],
  ["alias", { ...at("alias"), previousId: "anon-1" }],
];

if (client === "analytics-node") {
  const { Analytics } = await import("@segment/analytics-node");
  const analytics = new Analytics({ writeKey: key, host: collector, flushAt: 3 });
  analytics.on("error", (error) => { throw error; });
  for (const [kind, message] of calls) analytics[kind](message);
  await analytics.closeAndFlush({ timeout: 15000 });
} else {
  const RudderAnalytics = require("@rudderstack/rudder-sdk-node");
  const analytics = new RudderAnalytics(key, { dataPlaneUrl: collector, flushAt: 3, flushInterval: 200 });
  await Promise.all(calls.map(([kind, message]) => new Promise((sent, failed) =>
    analytics[kind](message, (error) => (error ? failed(error) : sent())))));
  await analytics.flush();
}
