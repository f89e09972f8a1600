import fs, { fstatSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import type { Exec } from "@belay/agent";

/** What of the agent's calls reaches a disk: those of node:fs/promises, and those of the handles they give. */
const PATH_CALLS = [
  "open",
  "rename",
  "rm",
  "mkdir",
  "symlink",
  "link",
  "unlink",
  "copyFile",
  "chmod",
  "chown",
  "lchown",
  "truncate",
  "writeFile",
  "readFile",
  "readlink",
  "readdir",
  "lstat",
] as const;
const HANDLE_CALLS = [
  "sync",
  "datasync",
  "write",
  "writev",
  "writeFile",
  "appendFile",
  "truncate",
  "chmod",
  "chown",
  "close",
] as const;

/** A promise to the disk that can be left out, to see whether anybody notices. */
export type Forgotten = "file-sync" | "directory-sync" | "data-sync";
export const FORGETTABLE: readonly Forgotten[] = ["file-sync", "directory-sync", "data-sync"];

export interface CallWatcher {
  /** About to happen. What it returns, if anything, happens once the call is on its way, in parallel with it. */
  before(call: string): (() => void) | undefined;
  after(call: string): void;
}

const PROGRAM_MS = 4;

type AnyCall = (this: unknown, ...args: unknown[]) => Promise<unknown>;

/**
 * Puts a watcher around every call that touches a path below `root`, for this whole process and for modules loaded
 * already. `forgotten` syncs succeed without having been done.
 */
export async function watchCalls(root: string, watcher: CallWatcher, forgotten: Forgotten | null): Promise<void> {
  const ours = new WeakMap<object, string>();
  const watch = async (call: string, work: () => Promise<unknown>): Promise<unknown> => {
    const meanwhile = watcher.before(call);
    const working = work();
    meanwhile?.();
    const result = await working;
    watcher.after(call);
    return result;
  };
  const promises = fs.promises as unknown as Record<string, AnyCall>;
  const sample = (await fs.promises.open("/dev/null", "r")) as FileHandle;
  const handles = Object.getPrototypeOf(sample) as Record<string, AnyCall>;
  await sample.close();

  for (const name of PATH_CALLS) {
    const real = promises[name] as AnyCall;
    promises[name] = async function (...args) {
      const path = String(name === "symlink" ? args[1] : args[0]);
      if (!path.startsWith(root)) return real.apply(this, args);
      const result = await watch(`${name} ${path.slice(root.length)}`, () => real.apply(this, args));
      if (name === "open") ours.set(result as object, path.slice(root.length));
      return result;
    };
  }
  for (const name of HANDLE_CALLS) {
    const real = handles[name] as AnyCall;
    handles[name] = function (...args) {
      const path = ours.get(this as object);
      if (path === undefined) return real.apply(this, args);
      return watch(`${name} ${path}`, async () => {
        if (forgotten !== null && isForgotten(name, (this as FileHandle).fd, forgotten)) return undefined;
        return real.apply(this, args);
      });
    };
  }
  syncBuiltinESMExports();
}

/**
 * The same for programs that the agent runs. One takes milliseconds, and does nothing in the first of them: what is to happen
 * in parallel with it happens at any time of it.
 */
export function watchExec(exec: Exec, watcher: CallWatcher, random: () => number): Exec {
  return {
    ...exec,
    async run(argv, options) {
      const call = argv.join(" ");
      const meanwhile = watcher.before(call);
      const working = exec.run(argv, options);
      if (meanwhile !== undefined) setTimeout(meanwhile, random() * PROGRAM_MS);
      const result = await working;
      watcher.after(call);
      return result;
    },
  };
}

function isForgotten(call: string, fd: number, forgotten: Forgotten): boolean {
  if (call === "datasync") return forgotten === "data-sync";
  if (call !== "sync") return false;
  return forgotten === (fstatSync(fd).isDirectory() ? "directory-sync" : "file-sync");
}
