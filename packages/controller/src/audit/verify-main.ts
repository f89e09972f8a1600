import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BelayError, errorInfo } from "@belay/shared";
import { logInFolder } from "./files.js";
import { givenKey, givenWitnesses } from "./given.js";
import { reportOf } from "./report.js";
import { verifyLog } from "./verify.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const HELP = `belay-audit-verify: says whether a copy of belayd's audit log is whole. Needs no belayd and no database.

Usage:
  belay-audit-verify DIR [--key K] [--witness FILE]... [--json]

DIR is <dataDir>/audit, or what \`belay audit export\` wrote. Every entry, every hash, the root and the signature are made
anew from the entries and compared; the first entry that is not as it was written is named.

Options:
  --key K         the log's key (belay-audit-...+...+...), or a file that holds it; default: the one in DIR
  --witness FILE  a checkpoint that a host has seen (\`belay-agent checkpoint\` prints it); may be repeated. Without one,
                  entries cut off at the end, and a log made anew with the stolen key, can't be told
  --json          answer in JSON
  --version, --help

Exit codes: 0 the log is whole, 1 it is not, 2 it could not be looked at.
`;

async function main(): Promise<number> {
  const { values, positionals } = argumentsOf();
  if (values.help) return say(HELP);
  if (values.version) return say(`${version}\n`);
  const [dir, ...extra] = positionals;
  if (dir === undefined || extra.length > 0) {
    throw new BelayError("usage", "one folder is named", { hint: "see belay-audit-verify --help" });
  }
  const options = { key: await givenKey(values.key), witnesses: await givenWitnesses(values.witness ?? []) };
  const verdict = await verifyLog(await logInFolder(dir), options);
  say(values.json ? `${JSON.stringify(verdict, null, 2)}\n` : `${reportOf(verdict).join("\n")}\n`);
  return verdict.findings.length === 0 ? 0 : 1;
}

function argumentsOf() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        key: { type: "string" },
        witness: { type: "string", multiple: true },
        json: { type: "boolean", default: false },
        version: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new BelayError("usage", (error as Error).message, { hint: "see belay-audit-verify --help" });
  }
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (thrown: unknown) => {
    const { code, message, hint } = errorInfo(thrown);
    process.stderr.write(`error[${code}]: ${message}\n${hint === undefined ? "" : `hint: ${hint}\n`}`);
    process.exitCode = 2;
  },
);
