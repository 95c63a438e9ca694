// Whether anything may be collected, and what is said of it in each event.
import { erase, json, on, options, remember, remembered } from "./env.js";

const NAME = "cdp_consent";

const gpc = () => navigator.globalPrivacyControl || undefined;
const dnt = () => navigator.doNotTrack === "1" || undefined;

/** Whether a signal of the browser denies "ads" or, with "deny", everything. */
const denies = (what) =>
  (gpc() && (options.consent.gpc || "ads") === what) || (dnt() && options.consent.dnt === what);

const said = () => json(remembered(NAME));

/** The category as it is written in the decision, whatever its case. */
const find = (categories, name) =>
  Object.keys(categories || {}).find((one) => one.toLowerCase() === name.toLowerCase());

/** true, false, or undefined while a required decision is awaited. */
export function allowed() {
  if (denies("deny")) return false;
  const decided = said();
  const name = find(decided, options.consent.category || "analytics");
  return name ? decided[name] : options.consent.required ? undefined : true;
}

/** context.consent of an event, in Segment's form: a signal against ads beats an older yes. */
export function stamp() {
  let decided = said();
  if (denies("ads"))
    (options.consent.ads || ["advertising", "marketing"]).forEach((name) => {
      decided = { ...decided, [find(decided, name) || name]: false };
    });
  return decided || gpc() || dnt() ? { categoryPreferences: decided || undefined, gpc: gpc(), dnt: dnt() } : undefined;
}

export function decide(categories) {
  const decided = { ...said() };
  Object.keys(categories).forEach((name) => (decided[find(decided, name) || name] = !!categories[name]));
  remember(NAME, JSON.stringify(decided));
}

export const undecide = () => erase(NAME);

/** Calls the listener when another tab has decided, and has written whose visit it is. */
export const elsewhere = (listener) =>
  on(window, "storage", (event) => event.key === NAME && setTimeout(listener, 99));
