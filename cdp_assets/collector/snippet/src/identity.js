// Who is here: {a: anonymousId, u: userId, g: groupId}, one value so that tabs never see half a change.
import { allowed } from "./consent.js";
import { cookie, erase, json, read, remember, remembered, uuid } from "./env.js";

const NAME = "cdp_id";
let memory;

/** The id that Segment's SDK left here: moving over does not make visitors new. */
const earlier = () => (remembered("ajs_anonymous_id") || "").replace(/"/g, "");

export function identity() {
  const shared = json(cookie(NAME));
  if (shared?.a) memory = shared;
  else if (allowed()) {
    // Cookies expire alone (7 days in Safari). A user id is only taken from storage where cookies
    // do not work at all: another subdomain may have logged out since.
    const stored = json(read(NAME));
    if (stored?.a) memory = navigator.cookieEnabled ? { ...memory, a: stored.a } : stored;
  }
  memory = memory || { a: (allowed() && earlier()) || uuid() };
  if (!shared) save();
  return memory;
}

const save = () => allowed() && remember(NAME, JSON.stringify(memory));

/** Lengthens the cookie's life by a visit. */
export const renew = () => identity() && save();

export function change(values) {
  memory = { ...identity(), ...values };
  save();
}

/** Another person from here on: new device id, no user, no group. */
export function anew(values) {
  memory = { a: uuid(), ...values };
  save();
}

export function gone() {
  memory = undefined;
  erase(NAME);
}
