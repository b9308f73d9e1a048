// Checks pages in a folder: `node check.mjs FOLDER`. Each `*.html` must be valid HTML5 by the
// recommended and the accessibility rules of html-validate, and each of its JSON-LD scripts must
// be JSON in the words of schema.org. Prints what is wrong, and exits with 1 if anything is.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { FileSystemConfigLoader, HtmlValidate, formatterFactory } from "html-validate";

const folder = process.argv[2];
if (!folder) {
  console.error("usage: node check.mjs FOLDER");
  process.exit(2);
}

const validator = new HtmlValidate(
  new FileSystemConfigLoader({
    root: true,
    extends: ["html-validate:recommended", "html-validate:document", "html-validate:a11y"],
    rules: {
      // The style is our own, from the same host, with its hash in its name.
      "require-sri": ["error", { target: "crossorigin" }],
      // It counts an escaped character as several.
      "long-title": "off",
      // Entities are the template engine's affair, which escapes what HTML wants escaped.
      "no-raw-characters": ["error", { relaxed: true }],
    },
  }),
);

const pages = readdirSync(folder).filter((name) => name.endsWith(".html"));
let wrong = pages.length === 0 ? 1 : 0;
for (const name of pages) {
  const text = readFileSync(join(folder, name), "utf8");
  const report = await validator.validateString(text, name);
  if (!report.valid || report.warningCount > 0) {
    wrong += 1;
    console.log(formatterFactory("text")(report.results));
  }
  for (const [, json] of text.matchAll(/<script type="application\/ld\+json">(.*?)<\/script>/gs)) {
    try {
      const data = JSON.parse(json);
      if (data["@context"] !== "https://schema.org") throw new Error("it has no context");
      if (!data["@type"] && !Array.isArray(data["@graph"])) throw new Error("it has no type");
    } catch (error) {
      wrong += 1;
      console.log(`${name}: structured data: ${error.message}: ${json}`);
    }
  }
}
console.log(`${pages.length} pages, ${wrong} wrong`);
process.exit(wrong === 0 ? 0 : 1);
