/** Lets the page open without a connection: what the browser has loaded once, it keeps until there is a new version. */

const CACHE = "tinylm-VERSION";
const FILES = ["./", "manifest.webmanifest", "icon-192.png", "icon-512.png"];

addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const remove = async () => {
    for (const name of await caches.keys()) if (name.startsWith("tinylm-") && name !== CACHE) await caches.delete(name);
  };
  event.waitUntil(remove().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const request = event.request.mode === "navigate" ? "./" : event.request;
  event.respondWith(caches.open(CACHE).then(async (cache) => (await cache.match(request)) ?? fetch(event.request)));
});
