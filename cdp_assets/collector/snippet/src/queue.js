// Events on their way. Each lies under its own name in local storage, so that tabs add without
// overwriting; a Web Lock lets one tab at a time send; a name goes when the collector has said 200.
// What was sent but not answered before the page ended is sent again: the messageId makes it one.
import { attempt, forget, keep, names, on, options, read } from "./env.js";

const LIMIT = 60000; // bytes a request: browsers allow 64 KB for all keepalive requests together
const LONGEST = 300000; // ms, the longest wait between two tries
const PATIENCE = 20000; // ms for an answer
let key;
let url;
let serial = 1e5;
let most = 100; // events a request
let timer;
let due;
let last = Promise.resolve();
let sending = [];
let own = new Set();
let dropped = 0;

const prefix = () => `cdp:q:${key}:`;
const wait = () => `cdp:wait:${key}`;
const bytes = (text) => new TextEncoder().encode(text).length;

export function add(event, delay = options.delay) {
  if (dropped) event.context.lostEvents = dropped; // to a full queue or a refusal
  dropped = 0;
  const waiting = names(prefix());
  for (let over = waiting.length + 1 - options.maxQueue; over > 0; over--) {
    forget(waiting[over - 1]);
    dropped++;
  }
  const name = prefix() + Date.now() + serial++ + event.messageId; // names sort by time
  keep(name, JSON.stringify(event));
  own.add(name);
  schedule(delay);
}

export function clear() {
  names(prefix()).forEach(forget);
  own.clear();
}

/** The next request: names of its events and its body. */
function take(all, limit) {
  const chosen = [];
  const texts = [];
  let size = 200;
  for (const name of all) {
    const text = read(name);
    if (!text) continue; // another tab has sent it
    const more = bytes(text) + 1;
    if (chosen.length && (size + more > limit || chosen.length >= most)) break;
    chosen.push(name);
    texts.push(text);
    size += more;
  }
  const body = `{"batch":[${texts}],"sentAt":"${new Date().toISOString()}","writeKey":${JSON.stringify(key)}}`;
  return [chosen, body, size];
}

/** Tries so far in vain, and the time of the next one; shared by tabs and pages. */
function patience() {
  const [failures, until] = (read(wait()) || "0 0").split(" ").map(Number);
  const left = until - Date.now();
  return [failures, left > LONGEST ? 0 : left]; // a clock that was set back
}

function later(failures, asked) {
  const told = asked >= 0 ? asked * 1000 : Date.parse(asked) - Date.now();
  const own = Math.min(1000 * 2 ** failures, 60000) * (0.5 + Math.random() / 2);
  const pause = Math.min(Math.max(told || 0, own), LONGEST);
  keep(wait(), `${failures + 1} ${Date.now() + pause}`);
  schedule(pause);
}

// A simple request: text/plain needs no preflight. A redirect would turn it into a GET.
const post = (body, keepalive) =>
  fetch(url, {
    method: "POST", body, keepalive, credentials: "omit", redirect: "error",
    signal: AbortSignal.timeout?.(PATIENCE),
  }).catch(() => ({}));

async function send() {
  for (;;) {
    if (navigator.onLine === false) return;
    const [failures, left] = patience();
    if (left > 0) return schedule(left);
    const [chosen, body, size] = take(names(prefix()), LIMIT);
    if (!chosen.length) return;
    sending = chosen;
    const answer = await post(body, size < LIMIT && !failures);
    sending = [];
    const { ok, status } = answer;
    if (status === 413 && chosen.length > 1) {
      most = chosen.length >> 1;
    } else if (ok || [400, 401, 413].includes(status)) {
      if (!ok) {
        dropped += chosen.length;
        console.warn("cdp: refused", status);
      }
      chosen.forEach((name) => {
        forget(name);
        own.delete(name);
      });
      forget(wait());
      most = 100;
    } else {
      return later(failures, status && answer.headers.get("Retry-After"));
    }
  }
}

// Without Web Locks (http, sandboxed frames) two tabs may send the same events: the collector keeps one of each.
function run() {
  timer = 0;
  last = last.then(() => navigator.locks?.request(prefix(), send).catch(send) ?? send()).catch(() => schedule(1000));
}

export function schedule(delay) {
  const at = Date.now() + delay;
  if (timer && due <= at) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(run, delay);
}

/** The page may end now: what this page has not sent goes by beacon, and stays until answered. */
export function farewell() {
  if (patience()[1] > 0 || navigator.onLine === false) return;
  const room = LIMIT - (sending.length && take(sending, LIMIT)[2]);
  const [chosen, body, size] = take([...own].filter((name) => !sending.includes(name)), room);
  if (chosen.length && size <= room && attempt(() => navigator.sendBeacon(url, body)))
    chosen.forEach((name) => own.delete(name));
}

export function open(writeKey, collector) {
  key = writeKey;
  url = collector;
  on(window, "online", () => schedule(0));
  schedule(0);
}
