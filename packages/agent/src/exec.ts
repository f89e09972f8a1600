import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BelayError } from "@belay/shared";
import { GRACE_MS, hold } from "./leash.js";

/** How a command ended. Both outputs are cut at `maxOutputBytes`. */
export interface CommandResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  timeoutMs: number;
  signal?: AbortSignal;
  maxOutputBytes?: number;
  /** Which part of an output that is longer. A program that complains says why at its end. Absent: the first. */
  keep?: "first" | "last";
  /** Added to the agent's own environment. For secrets, too: everybody on a host can read argument lists. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
}

export interface LaunchOptions {
  env: Record<string, string>;
  cwd: string;
  /** Both outputs are appended here. */
  logFile: string;
}

/** The only place that starts processes. Always an argument list, never a shell string. */
export interface Exec {
  /**
   * Runs a command to its end, and counts it by its exit code: what it leaves behind may hold its outputs open for a moment
   * only. Throws `command-not-started`, `command-timeout`, `command-not-ended` if the system won't end it, or the signal's reason.
   */
  run(argv: readonly string[], options: CommandOptions): Promise<CommandResult>;
  /**
   * Runs a command between two streams: what `input` gives goes in, what is yielded comes out, and neither is ever in memory
   * as a whole. Ends only after the command has ended well: else throws `command-failed`, so that an output cut short is
   * never taken for a whole one, nor is one that something else holds open. Throws also what `input` throws, and what `run` throws.
   */
  filter(argv: readonly string[], input: AsyncIterable<Uint8Array>, options: CommandOptions): AsyncGenerator<Buffer>;
  /** Starts a process that outlives the agent, in a session of its own. Returns its pid; throws `command-not-started`. */
  launch(argv: readonly string[], options: LaunchOptions): Promise<number>;
}

const MAX_OUTPUT_BYTES = 64 * 1024;

export const systemExec: Exec = {
  async run(argv, options) {
    options.signal?.throwIfAborted();
    const [file, ...args] = argv as [string, ...string[]];
    const child = spawn(file, args, { ...surroundings(options), stdio: ["ignore", "pipe", "pipe"] });
    const leash = hold(child, argv, options);
    const limit = options.maxOutputBytes ?? MAX_OUTPUT_BYTES;
    const gather = options.keep === "last" ? collectLast : collect;
    const stdout = gather(child.stdout, limit);
    const stderr = gather(child.stderr, limit);
    try {
      const [code, signal] = await leash.exited;
      leash.judge();
      // It has ended by itself: whatever it left behind is neither waited for nor ended.
      leash.release();
      await leash.closed();
      return { code, signal, stdout: stdout(), stderr: stderr() };
    } catch (error) {
      throw notStarted(file, error);
    } finally {
      leash.release();
    }
  },

  async *filter(argv, input, options) {
    options.signal?.throwIfAborted();
    const [file, ...args] = argv as [string, ...string[]];
    const child = spawn(file, args, { ...surroundings(options), stdio: ["pipe", "pipe", "pipe"] });
    const leash = hold(child, argv, options);
    const stderr = collect(child.stderr, options.maxOutputBytes ?? MAX_OUTPUT_BYTES);
    // Whoever reads takes as long as they like: only while they wait is nothing on its way.
    let waitsSince: number | null = performance.now();
    const hasFallenSilent = () => waitsSince !== null && performance.now() - waitsSince >= GRACE_MS;
    const closed = leash.closed(hasFallenSilent);
    const fed = feed(input, child.stdin);
    // Judged below, in an order that names the cause and not its echo.
    closed.catch(() => {});
    try {
      for await (const chunk of untilLetGo(child.stdout)) {
        waitsSince = null;
        yield chunk;
        waitsSince = performance.now();
      }
      const [code, signal] = await closed;
      leash.judge();
      const fault = await fed;
      if (fault !== null && !fault.pipe) throw fault.error;
      if (code !== 0 || fault !== null) throw commandFailed(file, code ?? signal, stderr());
      if (!child.stdout.readableEnded) throw commandFailed(file, code, "what it started still holds its output");
    } catch (error) {
      throw notStarted(file, error);
    } finally {
      // Also when whoever reads this gave up: nobody is left to wait for the command.
      leash.end();
      await closed.catch(() => {});
      leash.release();
    }
  },

  async launch(argv, options) {
    const [file, ...args] = argv as [string, ...string[]];
    const log = openSync(options.logFile, "a", 0o640);
    try {
      const child = spawn(file, args, {
        detached: true,
        stdio: ["ignore", log, log],
        env: options.env,
        cwd: options.cwd,
        shell: false,
      });
      await once(child, "spawn");
      child.unref();
      return child.pid as number;
    } catch (error) {
      throw notStarted(file, error);
    } finally {
      closeSync(log);
    }
  },
};

function surroundings({ env, cwd }: CommandOptions) {
  return {
    // Its own process group, so that a timeout also ends what the command itself started.
    detached: true,
    shell: false,
    ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
    ...(cwd === undefined ? {} : { cwd }),
  } as const;
}

/** What comes until the end, or until the stream is let go: its `readableEnded` says which. */
async function* untilLetGo(stream: Readable): AsyncGenerator<Buffer> {
  try {
    yield* stream;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  }
}

interface FeedFault {
  error: unknown;
  /** The command didn't want the rest: its own words say why, if anything does. */
  pipe: boolean;
}

/** Never rejects: what went wrong is weighed against how the command ended. */
async function feed(input: AsyncIterable<Uint8Array>, into: Writable): Promise<FeedFault | null> {
  let inputFailed = false;
  async function* watched() {
    try {
      yield* input;
    } catch (error) {
      inputFailed = true;
      throw error;
    }
  }
  try {
    await pipeline(watched, into);
    return null;
  } catch (error) {
    return { error, pipe: !inputFailed };
  }
}

function commandFailed(file: string, how: number | string | null, stderr: string): BelayError {
  return new BelayError("command-failed", `${file} ends with ${how}: ${stderr.trim().slice(0, 2000)}`, {
    hint: "see what the command says",
    context: { exit: how },
  });
}

/** A process that goes on beside this one. */
export interface Child {
  readonly pid: number;
  /** `exit 0`, `SIGKILL`. */
  readonly ended: Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a program that shares this process's terminal, or journal, and its environment. Throws `command-not-started`. */
export async function startChild(argv: readonly string[]): Promise<Child> {
  const [file, ...args] = argv as [string, ...string[]];
  const child = spawn(file, args, { stdio: "inherit", shell: false });
  const ended = once(child, "exit").then(([code, signal]) => (signal === null ? `exit ${code}` : String(signal)));
  // A program that was never started has its error told below.
  ended.catch(() => {});
  try {
    await once(child, "spawn");
  } catch (error) {
    throw notStarted(file, error);
  }
  return { pid: child.pid as number, ended, kill: (signal) => void child.kill(signal) };
}

function notStarted(file: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof BelayError || code === undefined) return error;
  return new BelayError("command-not-started", `${file}: ${(error as Error).message}`, {
    hint: "check that the file exists and may be executed",
    context: { file, errno: code },
    cause: error,
  });
}

/** Keeps the first `limit` bytes and lets the rest flow away, so that a chatty command neither blocks nor fills memory. */
function collect(stream: NodeJS.ReadableStream, limit: number): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    const part = chunk.subarray(0, Math.max(0, limit - size));
    if (part.length > 0) chunks.push(part);
    size += part.length;
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

function collectLast(stream: NodeJS.ReadableStream, limit: number): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    while (size - (chunks[0]?.length ?? 0) >= limit) size -= chunks.shift()?.length ?? 0;
  });
  return () => Buffer.concat(chunks).subarray(-limit).toString("utf8");
}
