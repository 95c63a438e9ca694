// What is noticed without a call: pages, clicks on marked elements, features, forms, links,
// downloads, errors, scrolling and the time that a page was really looked at.
import { allowed } from "./consent.js";
import { address, look, viewUrl, where } from "./context.js";
import { attempt, domain, on, options, parse, uuid, within } from "./env.js";
import { decorate } from "./linker.js";

const FILES = /\.(pdf|docx?|xlsx?|pptx?|csv|txt|zip|gz|rar|7z|dmg|exe|pkg|msi|apk|mp[34]|mov)$/i;
const ERRORS = 10; // a page view
const wanted = (name) => options.auto && options.auto[name] !== false;
let track;

// --- marked elements ---

/** data-cdp-prop-plan-name="pro" is {plan_name: "pro"}. */
function marked(element) {
  const properties = {};
  for (const { name, value } of element.attributes)
    if (name.startsWith("data-cdp-prop-")) properties[name.slice(14).replace(/-/g, "_")] = value;
  return properties;
}

function clicked(event) {
  const element = event.composedPath()[0];
  if (!element.closest || event.button > 1 || element.closest("[data-cdp-ignore]")) return;
  const named = element.closest("[data-cdp-event]:not(form)");
  const feature = element.closest("[data-cdp-feature]");
  const link = element.closest("a[href],area[href]");
  if (event.button === 0) {
    if (named && wanted("clicks")) track(named.getAttribute("data-cdp-event"), marked(named));
    if (feature && wanted("features"))
      track("Feature Used", { feature: feature.getAttribute("data-cdp-feature"), ...marked(feature) });
  }
  if (link) followed(link);
}

function followed(link) {
  const to = parse(link.href);
  if (!to || !/^https?:$/.test(to.protocol)) return;
  const file = to.pathname.split("/").pop();
  if (wanted("downloads") && (link.hasAttribute("download") || FILES.test(file))) {
    const [, extension = ""] = /\.(\w+)$/.exec(file) || [];
    track("File Downloaded", { url: address(to.href), file_extension: extension.toLowerCase() });
  } else if (wanted("links") && !within(to.hostname, [home(), ...options.linker]))
    track("Link Clicked", { url: address(to.href), domain: to.hostname, outbound: true });
  decorate(link);
}

/** This site with all its subdomains. */
const home = () => (allowed() && domain()) || location.hostname.replace(/^www\./, "");

function submitted(event) {
  const form = event.target;
  if (form.closest("[data-cdp-ignore]")) return;
  const name = form.getAttribute("data-cdp-event");
  if (!wanted("forms") && !name) return;
  let values;
  for (const { name, type, value, checked } of form.querySelectorAll("[data-cdp-value][name]"))
    if (!/password|file|hidden/.test(type) && (checked || !/checkbox|radio/.test(type))) values = { ...values, [name]: value };
  track(name || "Form Submitted", {
    form_id: form.getAttribute("id"),
    form_name: form.getAttribute("name"),
    action: address(form.getAttribute("action") || location.href),
    values,
    ...marked(form),
  });
}

// --- errors: kind and place; a message may hold anything, so it stays here ---
let seen = [];

function failed({ error, reason = error }) {
  const [, file, line, column] = /^(?: +at |\S*@).*?(https?:[^\s()]+):(\d+):(\d+)/m.exec(reason?.stack) || [];
  const kind = reason?.constructor?.name;
  const place = kind + file + line + ":" + column;
  if (!file || seen.includes(place) || seen.length >= ERRORS) return;
  seen.push(place);
  track("Error Occurred", { kind, file: address(file), line: +line, column: +column });
}

// --- attention ---
let since; // performance.now() when looking began: not moved by a clock that jumps
let active = 0;
let looked = 0;
let depth = 0;
let told = false;

function settle() {
  const now = performance.now();
  if (since !== undefined) {
    looked += Math.max(0, Math.min(now, active + options.idle * 1000) - since);
    since = now;
  }
  return now;
}

function scrolled() {
  const { scrollHeight } = document.documentElement;
  depth = Math.max(depth, Math.min(100, Math.round((100 * (scrollY + innerHeight)) / (scrollHeight || 1))));
}

/** Time looked at since the last such event of this page view, and the deepest scroll in percent. */
export function attended() {
  announce();
  settle();
  if (!track || !wanted("engagement") || (told && looked < 100)) return;
  const seconds = Math.round(looked / 100) / 10;
  looked = 0;
  told = true;
  track("Page Engaged", { engaged_seconds: seconds, scroll_depth: depth });
}

const left = () => {
  attended();
  since = undefined;
};

function begin() {
  active = performance.now();
  since = document.hidden ? undefined : active;
}

// --- pages ---
const SETTLING = 50; // ms that a single-page app gets to set its title
let page; // reports the page view
let unsaid; // timer of a page view not yet reported
let moment;

/** Whether the page has moved on since the view was told. */
export const stale = () => where() !== viewUrl;

/** Another page is looked at: what was is told first, under its own address. */
export function turn(referrer, landing) {
  attended();
  look(uuid(), referrer, landing);
  seen = [];
  looked = depth = 0;
  told = false;
  begin();
  scrolled();
}

function announce() {
  if (!unsaid) return;
  clearTimeout(unsaid);
  unsaid = 0;
  page(moment);
}

function moved() {
  if (!stale()) return;
  turn(viewUrl);
  moment = Date.now();
  unsaid = setTimeout(announce, SETTLING);
}

/** Starts listening. */
export function watch(told, report, pages, flush, farewell) {
  track = told;
  page = report;
  on(document, "click auxclick", clicked, true);
  on(document, "submit", submitted, true);
  if (wanted("errors")) on(window, "error unhandledrejection", failed);
  const passive = { passive: true, capture: true };
  on(window, "pointerdown pointermove keydown scroll", (event) => {
    active = settle();
    if (event.type === "scroll") scrolled();
  }, passive);
  setInterval(() => performance.now() > active + options.idle * 1000 && attended(), 5000);
  on(document, "visibilitychange", () => {
    if (!document.hidden) return begin();
    left();
    flush(0);
  });
  on(window, "pagehide", () => {
    left();
    farewell();
  });
  on(window, "pageshow", (event) => {
    if (!event.persisted) return; // back from the browser's memory: seen again
    turn(viewUrl);
    if (pages) page();
    flush(0);
  });
  if (!pages) return;
  const push = history.pushState;
  history.pushState = function () {
    const result = push.apply(this, arguments);
    moved();
    return result;
  };
  on(window, "popstate hashchange", moved);
}

export { wanted };
