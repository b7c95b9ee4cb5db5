// Copies what the dashboard serves from node_modules into the folder given, fonts cut down to what its pages write.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import subsetFont from "subset-font";

const target = process.argv[2];
const modules = join(import.meta.dirname, "node_modules");
mkdirSync(target, { recursive: true });

const range = (first, last) => [...Array(last - first + 1)].map((_, i) => String.fromCodePoint(first + i)).join("");
const ascii = range(0x20, 0x7e);
const signs = "\u00a0\u2009\u202f–—‘’“”•…−×·±";

async function font(source, name, text, options) {
  const trimmed = await subsetFont(readFileSync(join(modules, source)), text, { targetFormat: "woff2", ...options });
  writeFileSync(join(target, name), trimmed);
}

await font("@fontsource-variable/inter/files/inter-latin-wght-normal.woff2", "inter.woff2", ascii + range(0xa0, 0xff) + signs, {
  variationAxes: { wght: { min: 400, max: 650, default: 400 } },
});
await font("@fontsource/jetbrains-mono/files/jetbrains-mono-latin-400-normal.woff2", "mono.woff2", ascii + signs, {
  noLayoutClosure: true,
});
writeFileSync(
  join(target, "fonts.css"),
  `@font-face{font-family:Inter;src:url(vendor/inter.woff2) format("woff2");font-weight:400 650;font-display:swap}
@font-face{font-family:JBM;src:url(vendor/mono.woff2) format("woff2");font-weight:400;font-display:swap}
`,
);
for (const file of ["htmx.org/dist/htmx.min.js", "htmx.org/dist/ext/hx-sse.min.js", "uplot/dist/uPlot.iife.min.js", "uplot/dist/uPlot.min.css"])
  copyFileSync(join(modules, file), join(target, file.split("/").pop()));
