import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { BelayError, errorInfo } from "@belay/shared";
import { buildPackages, PACKAGES, type PackageName } from "./build.js";
import { ROOT } from "./source.js";

const HELP = `npm run package -- [belay-agent] [belay] [options]

Builds the agent as one executable, and Debian's packages belay-agent and belay; without a name, all of it.
The same sources make the same bytes.

  --out DIR       where to (default dist-packages)
  --version V     build them as this version (default: that of packaging/changelog)
  --help
`;

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { out: { type: "string" }, version: { type: "string" }, help: { type: "boolean", default: false } },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const made = await buildPackages({
    out: values.out === undefined ? join(ROOT, "dist-packages") : resolve(values.out),
    ...(values.version === undefined ? {} : { version: values.version }),
    ...(positionals.length === 0 ? {} : { only: positionals.map(packageNamed) }),
  });
  for (const file of made) {
    const bytes = await readFile(file);
    const digest = createHash("sha256").update(bytes).digest("hex");
    process.stdout.write(
      `${digest}  ${relative(process.cwd(), file)}  ${(bytes.length / 1024 / 1024).toFixed(1)} MiB\n`,
    );
  }
  return 0;
}

function packageNamed(name: string): PackageName {
  const found = PACKAGES.find((each) => each === name);
  if (found !== undefined) return found;
  throw new BelayError("usage", `there is no package ${name}`, { hint: `they are ${PACKAGES.join(" and ")}` });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { code, message, hint } = errorInfo(error);
  process.stderr.write(`error[${code}]: ${message}\n${hint === undefined ? "" : `hint: ${hint}\n`}`);
  process.exitCode = 1;
}
