// Builds src/ into cdp-<version>.min.js and writes manifest.json: `npm ci && node build.mjs`.
// Files of earlier versions stay: pages name them by version and hash. A change of a released
// file needs a new version in package.json.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build, version as esbuild } from "esbuild";
import { minify } from "terser";

process.chdir(import.meta.dirname);
const { version } = JSON.parse(readFileSync("package.json"));
const file = `cdp-${version}.min.js`;
const licence = readFileSync("LICENSE", "utf8").split("\n")[2];
const bundle = await build({
  entryPoints: ["src/cdp.js"],
  bundle: true,
  write: false,
  target: "es2020",
  format: "iife",
  define: { __VERSION__: JSON.stringify(version) },
});
const { code } = await minify(bundle.outputFiles[0].text, {
  ecma: 2020,
  toplevel: true,
  compress: { passes: 3, inline: 1, unsafe_arrows: true, keep_fargs: false },
  format: { preamble: `/*! cdp.js ${version} ${licence} MIT */` },
});
writeFileSync(file, code + "\n");
const built = readFileSync(file);
const digest = (kind, data, form) => createHash(kind).update(data).digest(form);
const sources = readdirSync("src").sort().map((name) => readFileSync(`src/${name}`));
const manifest = {
  version,
  file,
  integrity: `sha384-${digest("sha384", built, "base64")}`,
  bytes: built.length,
  gzip_bytes: gzipSync(built, { level: 9 }).length,
  sources_sha256: digest("sha256", Buffer.concat(sources), "hex"),
  built_with: `esbuild ${esbuild}, terser ${JSON.parse(readFileSync("package.json")).devDependencies.terser}`,
};
writeFileSync("manifest.json", JSON.stringify(manifest, null, 2) + "\n");
console.log(`${file}: ${manifest.bytes} bytes, ${manifest.gzip_bytes} gzipped`);
