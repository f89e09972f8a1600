import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Room -> what it may not import, as the start of a path below packages/, or a module's name. */
const FORBIDDEN: readonly [room: string, never: RegExp, why: string][] = [
  ["shared/src", /^(agent|controller)\/|^@belay\//, "shared imports no room"],
  ["agent/src", /^controller\/|^@belay\/controller/, "the agent knows no controller"],
  ["controller/src", /^agent\/|^@belay\/agent/, "the controller knows no agent"],
  [
    "controller/src/plan",
    /^node:|^pino|^fastify|^controller\/src\/(store|http|execute|fleet|cli)\//,
    "planning is pure",
  ],
  ["controller/src/run", /^node:|^pino|^fastify|^controller\/src\/(store|http|execute|fleet|cli)\//, "a run is pure"],
  ["controller/src/fleet", /^controller\/src\/(execute|http|cli)\//, "the fleet never reaches up"],
  ["controller/src/store", /^controller\/src\/(execute|http|cli)\//, "the store never reaches up"],
  ["controller/src/audit", /^controller\/src\/(execute|http|cli)\//, "the audit log never reaches up"],
  ["controller/src/cli", /^controller\/src\/(store|http|execute|fleet)\//, "the command line speaks HTTP only"],
];

const IMPORT = /^(?:import|export)\s[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm;

t.test("no room imports what it may not", async (t) => {
  let read = 0;
  for (const [room, never, why] of FORBIDDEN) {
    for (const file of sources(room)) {
      for (const target of importsOf(file)) {
        read += 1;
        if (never.test(target)) t.fail(`${relative(ROOT, file)} imports ${target}: ${why}`);
      }
    }
  }
  t.ok(read > 200, `${read} imports were read`);
});

function importsOf(file: string): string[] {
  const specifiers = [...readFileSync(file, "utf8").matchAll(IMPORT)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? "",
  );
  return specifiers.map((specifier) =>
    specifier.startsWith(".") ? relative(join(ROOT, "packages"), join(dirname(file), specifier)) : specifier,
  );
}

function sources(room: string): string[] {
  const folder = join(ROOT, "packages", room);
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name));
}
