// The API: cdp.load(), track(), page(), identify(), group(), alias(), reset(), consent(), ready(), flush().
// Calls made before this file has come lie in the array window.cdp and are made here in order.
import { attended, stale, turn, wanted, watch } from "./auto.js";
import { allowed, decide, elsewhere, stamp, undecide } from "./consent.js";
import { VERSION, context, page as describe, viewId, viewUrl } from "./context.js";
import { attempt, json, on, options, uuid } from "./env.js";
import { anew, change, gone, identity, renew } from "./identity.js";
import { arrive } from "./linker.js";
import * as queue from "./queue.js";

const HELD = 100; // events kept in memory while a decision is awaited
const cdp = window.cdp || [];
const script = document.currentScript;
const landing = performance.getEntriesByType("navigation")[0]?.name || location.href;
let loaded = false;
let started = false;
let held = [];
let moment; // when the call being made was made, if it had to wait

const object = (value) => value && typeof value === "object";
const text = (value) => String(value ?? "") || undefined;
const time = (value) => attempt(() => new Date(value).toISOString(), new Date().toISOString());

/** Sends, holds or drops an event, as consent has it. */
function emit(type, fields, more, delay, permitted = allowed()) {
  if (permitted === false) return;
  const { context: extra, timestamp, ...rest } = object(more) ? more : {};
  const { a, u, g } = identity();
  const at = time(timestamp ?? moment ?? Date.now());
  const event = {
    type,
    messageId: uuid(),
    anonymousId: a,
    userId: u,
    ...fields,
    ...rest, // integrations, anonymousId, messageId …
    timestamp: at,
    originalTimestamp: at,
    context: { ...context(), groupId: g, ...extra },
  };
  if (permitted) queue.add(event, delay);
  else if (held.push([event, rest.anonymousId]) > HELD) held.shift();
}

const track = (event, properties, more, delay, permitted) =>
  emit("track", { event, properties: properties || {} }, more, delay, permitted);

/** A decision holds, made here or in another tab: what was held goes its way, or nowhere. */
function decided() {
  const permitted = allowed();
  if (permitted) {
    renew();
    held.forEach(([event, anonymousId]) => {
      event.anonymousId = anonymousId || identity().a;
      event.context.consent = stamp();
      queue.add(event);
    });
  } else gone();
  if (permitted !== undefined) held = [];
}

let told; // the view whose page call was made

function viewed(name, category, properties, more, at) {
  const about = { name, category };
  told = viewId; // a page call's messageId is the pageViewId of what follows
  emit("page", { ...about, messageId: viewId, properties: { ...describe(), ...about, ...properties } },
    { timestamp: at, ...more });
}

// Arguments as analytics.js takes them: ids and names may be left out.
const calls = {
  track: (event, properties, more) => track(event, properties, more),

  page(...given) {
    const names = [];
    while (given.length && !object(given[0]) && names.length < 2) names.unshift(text(given.shift()));
    if (stale() || told === viewId) turn(viewUrl);
    viewed(names[0], names[1], ...given);
  },

  identify(...given) {
    const userId = object(given[0]) ? undefined : text(given.shift());
    const { u } = identity();
    // Another user on this device is another person: nothing of the first is given to the second.
    if (userId && u && u !== userId) leave({ u: userId });
    else if (userId) change({ u: userId });
    emit("identify", { traits: given[0] || {} }, given[1]);
  },

  group(groupId, traits, more) {
    if (text(groupId)) change({ g: text(groupId) });
    emit("group", { groupId: identity().g, traits: traits || {} }, more);
  },

  alias(userId, previous, more) {
    const { a, u } = identity();
    const named = !object(previous);
    emit("alias", { userId: text(userId), previousId: (named && text(previous)) || u || a }, named ? more : previous);
  },

  /** The person leaves this device: what happened stays theirs, what comes is a stranger's. */
  reset: () => leave({}),

  /** cdp.consent({analytics: true, marketing: false}); without an argument it forgets the decision. */
  consent(categories) {
    const before = allowed();
    if (categories) decide(categories);
    else undecide();
    const after = allowed();
    // Taken back: what was not sent yet is dropped, but that it was taken back must be known.
    if (before && !after) queue.clear();
    if (after) decided();
    if (categories && (before || after)) track("Consent Updated", {}, 0, 0, true);
    if (!after) decided();
  },

  flush: () => allowed() && queue.schedule(0),

  setAnonymousId: (id) => text(id) && change({ a: text(id) }),

  ready() {},
};

function leave(next) {
  attended();
  anew(next);
  turn(viewUrl, "about:blank"); // the next person did not come by this campaign
}

function make([name, ...given], at) {
  moment = at;
  try {
    calls[name](...given.filter((one) => typeof one !== "function"));
  } catch (error) {
    console.error("cdp:", name, error); // a mistake in a call never stops the page
  }
  moment = undefined;
  given.forEach((one) => typeof one === "function" && setTimeout(one));
}

function load(writeKey, given, at) {
  if (loaded) return;
  loaded = true;
  Object.assign(options, given);
  const url = new URL(options.path, options.host || script?.src || location).href;
  // A page that was loaded ahead of time and never shown was not seen.
  if (document.prerendering) on(document, "prerenderingchange", () => start(writeKey, url), { once: true });
  else start(writeKey, url, at);
}

function start(writeKey, url, at) {
  const waiting = cdp.splice(0);
  // A page that calls page() itself right away, as with analytics.js, reports its pages itself.
  const pages = wanted("pages") && !waiting.some(([name]) => name === "page");
  queue.open(writeKey, url);
  arrive(landing);
  turn(document.referrer, landing);
  if (allowed()) renew();
  started = true;
  waiting.forEach((call) => make(call, call.t));
  const report = (when) => viewed(undefined, undefined, {}, {}, when);
  if (pages) report(at);
  watch((event, properties) => track(event, properties, 0, 0), report, pages, queue.schedule, queue.farewell);
  elsewhere(decided);
}

if (!cdp.version) {
  window.cdp = cdp;
  cdp.version = VERSION;
  Object.keys(calls).forEach((name) => {
    cdp[name] = (...given) => {
      const call = [name, ...given];
      call.t = Date.now();
      if (started) make(call);
      else cdp.push(call);
      return cdp;
    };
  });
  cdp.load = (writeKey, given) => load(writeKey, given) || cdp;
  cdp.user = () => {
    const { a, u } = started ? identity() : {};
    return { id: () => u, anonymousId: () => a };
  };
  const asked = cdp.findIndex(([name]) => name === "load");
  const key = script?.dataset.writeKey;
  if (asked >= 0) {
    const [call] = cdp.splice(asked, 1);
    load(call[1], call[2], call.t);
  } else if (key) load(key, json(script.dataset.options));
}
