// Completes package-lock.json after `npm install` on a machine whose registry does not serve builds for other platforms:
// npm leaves those optional packages out, and then `npm ci` calls the lockfile out of sync, everywhere. Each gets an
// entry with its pinned version and the platform its name says, so that npm knows it and skips it where it doesn't fit.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const path = join(fileURLToPath(new URL("..", import.meta.url)), "package-lock.json");
const lock = JSON.parse(readFileSync(path, "utf8"));
let added = 0;

for (const entry of Object.values({ ...lock.packages })) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (lock.packages[key] !== undefined) continue;
    if (!/^\d/.test(version)) throw new Error(`${name}: ${version} is not an exact version`);
    lock.packages[key] = {
      version,
      ...platformOf(name),
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
    };
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added} entries added\n`);

/** `cli-win32-x64` runs on win32 and x64 alone; a WebAssembly build (`wasm32-wasi`) on neither of ours. */
function platformOf(name) {
  const os = /android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|aix|win32/.exec(name)?.[0];
  const cpu = /arm64|arm|x64|ia32|loong64|mips64el|ppc64|riscv64|s390x|wasm32/.exec(name)?.[0];
  const libc = /musl|gnu/.exec(name)?.[0]?.replace("gnu", "glibc");
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(libc === undefined ? {} : { libc: [libc] }),
    ...(os === undefined ? {} : { os: [os] }),
  };
}
