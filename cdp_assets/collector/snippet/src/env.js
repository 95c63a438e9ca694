// What a browser may refuse at any time (cookies, storage, identifiers), made safe to ask for.

/** The options given to cdp.load(), with their defaults; without one: host, hashRoutes. */
export const options = {
  path: "/v1/batch",
  delay: 250, // ms that events wait for company
  maxQueue: 1000, // events kept while nothing can be sent
  idle: 120, // s without input after which a visible page counts as left
  auto: {}, // {pages, clicks, features, forms, links, downloads, engagement, errors}: false turns one off
  consent: {}, // {required, category, ads, gpc, dnt}
  linker: [], // domains that share a visitor with this one and are no outbound links
  hide: [], // parameters of addresses that are never sent, besides the usual secrets
};

export const on = (target, names, listener, more) =>
  names.split(" ").forEach((name) => target.addEventListener(name, listener, more));

export function attempt(action, otherwise) {
  try {
    return action();
  } catch {
    return otherwise;
  }
}

/** A random UUID; crypto.randomUUID exists on https only. */
export const uuid = () =>
  "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () =>
    (crypto.getRandomValues(new Uint8Array(1))[0] & 15).toString(16));

export const json = (text) => attempt(() => JSON.parse(text), null);

export const parse = (url) => attempt(() => new URL(url, location.href));

// --- local storage, else this page's memory ---
const memory = {};

export const read = (name) => memory[name] ?? attempt(() => localStorage.getItem(name), null);

export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
    delete memory[name];
  } catch {
    memory[name] = value;
  }
}

export function forget(name) {
  delete memory[name];
  attempt(() => localStorage.removeItem(name));
}

export const names = (prefix) =>
  attempt(() => Object.keys(localStorage), [])
    .concat(Object.keys(memory))
    .filter((name) => name.startsWith(prefix))
    .sort();

// --- first-party cookies on the widest domain the browser allows ---
const YEAR = 31536000;
let widest;

export function cookie(name) {
  return attempt(() => decodeURIComponent(RegExp(`(^|; )${name}=([^;]*)`).exec(document.cookie)[2]));
}

const write = (name, value, domain, age) =>
  attempt(() => {
    document.cookie = `${name}=${encodeURIComponent(value)};path=/;max-age=${age};samesite=lax` +
      (domain ? ";domain=" + domain : "") + (location.protocol === "https:" ? ";secure" : "");
  });

/** The registrable domain, found by trying: browsers refuse cookies on public suffixes. */
export function domain() {
  if (widest === undefined) {
    widest = "";
    const labels = location.hostname.split(".");
    for (let n = labels.length - 1; n >= 0 && !widest; n--) {
      const tried = labels.slice(n).join(".");
      write("cdp_test", "1", tried, 9);
      if (cookie("cdp_test")) widest = tried;
      write("cdp_test", "", tried, 0);
    }
  }
  return widest;
}

export const setCookie = (name, value, age = YEAR) => write(name, value, domain(), age);

/** A value that outlives the page, in a cookie (shared by subdomains) and in local storage. */
export const remembered = (name) => cookie(name) || read(name);

export function remember(name, value) {
  setCookie(name, value);
  keep(name, value);
}

export function erase(name) {
  setCookie(name, "", 0);
  forget(name);
}

/** Whether a host is one of the domains or below one. */
export const within = (host, domains) =>
  domains.some((one) => host === one || host.endsWith("." + one));
