/*! cdp.js at the address of Segment's analytics.js, under its global name. Copyright cdp-assets authors MIT */
// Served before cdp.js at /analytics.js/v1/KEY/analytics.min.js, so that a page with Segment's tag
// needs its host changed and nothing else. As there, only what is called is sent; for more:
// analytics.load("KEY", {cdp: {auto: {…}}}) takes what cdp.load() takes.
(function (window, script) {
  var name = script.getAttribute("data-global-segment-analytics-key") || "analytics";
  var analytics = (window[name] = window[name] || []);
  if (analytics.initialize || (window.cdp && window.cdp.version)) return;
  analytics.initialize = true;

  function each(elements, listener) {
    (elements instanceof Element ? [elements] : [].slice.call(elements || [])).forEach(listener);
  }

  // Events outlive the page, so nothing has to hold a link or a form back.
  function tracker(happening) {
    return function (elements, event, properties) {
      each(elements, function (element) {
        element.addEventListener(happening, function () {
          var called = function (value) { return typeof value === "function" ? value(element) : value; };
          analytics.track(called(event), called(properties));
        });
      });
      return analytics;
    };
  }

  var more = {
    trackLink: tracker("click"), trackClick: tracker("click"),
    trackForm: tracker("submit"), trackSubmit: tracker("submit"),
    pageview: function () { return analytics.page(); },
  };
  "screen debug once off on addSourceMiddleware addIntegrationMiddleware addDestinationMiddleware register"
    .split(" ").forEach(function (method) {
      more[method] = function () {
        console.warn("cdp: analytics." + method + "() does nothing here");
        return analytics;
      };
    });

  var queued = analytics.splice(0);
  Object.keys(more).forEach(function (method) { analytics[method] = more[method]; });
  var key = /\/analytics\.js\/v1\/([^/]+)/.exec(script.src)[1];
  var options = { host: new URL(script.src).origin, auto: false };
  var given = (analytics._loadOptions || {}).cdp || {};
  Object.keys(given).forEach(function (option) { options[option] = given[option]; });
  window.cdp = analytics;
  analytics.push(["load", decodeURIComponent(key), options]);
  queued.forEach(function (call) {
    // Segment's tag adds where the page was ("bpc") to each call that had to wait.
    var values = [].slice.call(call).filter(function (value) { return !(value && value.__t === "bpc"); });
    if (more[values[0]]) more[values[0]].apply(analytics, values.slice(1));
    else analytics.push(values);
  });
})(window, document.currentScript);
