// What an event says of its page, its visit and its device.
import { stamp } from "./consent.js";
import { attempt, options, parse } from "./env.js";

export const VERSION = __VERSION__;
export const LINK = "_cdp";

const CLICKS = /^(gclid|dclid|fbclid|ttclid|twclid|yclid|gbraid|wbraid|msclkid|li_fat_id|rdt_cid|epik|sccid|irclickid)$/;
const SECRETS = /^(e-?mail|password|secret|(.*_)?token)$/;

/** One part of a query as text: + is a space, broken escapes stay as they are. */
const decode = (text) => {
  const spaced = text.replace(/\+/g, " ");
  return attempt(() => decodeURIComponent(spaced), spaced);
};

/** [name, value, raw] of each parameter. */
export const query = (search) =>
  search.replace(/^\?/, "").split("&").filter(Boolean).map((raw) => {
    const cut = raw.indexOf("=");
    return cut < 0 ? [decode(raw), "", raw] : [decode(raw.slice(0, cut)), decode(raw.slice(cut + 1)), raw];
  });

/** A query without the linker and without parameters that hold secrets or persons. */
function cleaned(search) {
  const kept = query(search).filter(([name]) =>
    name !== LINK && !SECRETS.test(name.toLowerCase()) && !options.hide.includes(name));
  return kept.map((one, n) => (n ? "&" : "?") + one[2]).join("");
}

/** An address without fragment, user and hidden parameters. */
export function address(url) {
  const at = url && parse(url);
  return at ? at.protocol + "//" + at.host + at.pathname + cleaned(at.search) : "";
}

/** The fragment where it is a page's address (#/path, #!/path), its query cleaned; another may be
 * a token (#access_token=…). */
const route = () =>
  options.hashRoutes && /^#!?\//.test(location.hash) ? location.hash.replace(/\?.*/, cleaned) : "";

/** Where the page is, as it is told. */
export const where = () => address(location.href) + route();

// The page being viewed: told by navigation, not by when an event happens to be sent.
export let viewId;
export let viewUrl;
let path;
let search;
let from;
let campaign;
let clickIds;

export function look(id, referrer, landing) {
  viewId = id;
  path = location.pathname + route();
  search = cleaned(location.search);
  viewUrl = where();
  from = address(referrer);
  campaign = clickIds = undefined;
  query(parse(landing || location.href).search).forEach(([name, value]) => {
    const folded = name.toLowerCase();
    const field = folded === "utm_campaign" ? "name" : folded.replace(/^utm_/, "");
    if (!value) return;
    if (field !== folded) campaign = { [field]: value, ...campaign };
    else if (CLICKS.test(folded)) clickIds = { [folded]: value, ...clickIds };
  });
}

export const timezone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export const page = () => ({ path, referrer: from, search, title: document.title, url: viewUrl });

export function context() {
  return {
    library: { name: "cdp.js", version: VERSION },
    page: page(),
    pageViewId: viewId,
    campaign,
    clickIds,
    consent: stamp(),
    locale: navigator.language,
    timezone: timezone(),
    screen: { width: screen.width, height: screen.height, density: devicePixelRatio },
    userAgent: navigator.userAgent,
  };
}
