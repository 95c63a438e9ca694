// One visitor over several domains: the device id travels in a link's address for two minutes.
// Addresses are forwarded, so an id is taken only on a device like the sender's, in time, on a
// page reached from a domain that is named, and where nobody is logged in.
import { allowed } from "./consent.js";
import { LINK, query, timezone } from "./context.js";
import { attempt, options, parse, within } from "./env.js";
import { change, identity } from "./identity.js";

const LIFE = 120; // seconds

/** A checksum (FNV-1a) of time, id and device: it binds them, it keeps nothing secret. */
function device(time, id) {
  let sum = 0x811c9dc5;
  for (const char of [time, id, navigator.userAgent, navigator.language, timezone(), screen.width, screen.height].join())
    sum = Math.imul(sum ^ char.charCodeAt(0), 0x01000193);
  return (sum >>> 0).toString(36);
}

/** Gives the address of a link this visitor's id, if it leads to a domain that shares visitors. */
export function decorate(link) {
  const to = parse(link.href);
  if (!allowed() || to.hostname === location.hostname || !within(to.hostname, options.linker)) return;
  const time = Math.floor(Date.now() / 1000).toString(36);
  const id = identity().a;
  to.searchParams.set(LINK, [time, device(time, id), id].join("."));
  link.href = to.href;
}

/** Takes the id from the page's address, if it may, and always takes it out of the address. */
export function arrive(landing) {
  const found = query(parse(landing).search).find(([name]) => name === LINK);
  if (!found) return;
  attempt(() => {
    const here = parse(location.href);
    here.searchParams.delete(LINK);
    history.replaceState(history.state, "", here.href);
  });
  const [, time, check, id] = /^(\w+)\.(\w+)\.(.+)/.exec(found[1]) || [];
  const age = Date.now() / 1000 - parseInt(time, 36);
  const from = document.referrer && parse(document.referrer).hostname;
  if (age > -5 && age < LIFE && check === device(time, id) && within(from, options.linker) && !identity().u)
    change({ a: id });
}
