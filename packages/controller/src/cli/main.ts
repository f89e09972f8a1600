import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Output, Outside } from "./outside.js";
import { runCli } from "./program.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/** How wide prose is set where there is no window. */
const COLUMNS_OF_A_LOG = 100;

const outside: Outside = {
  env: process.env,
  home: homedir(),
  userName: loginName(),
  out: outputOf(process.stdout),
  err: outputOf(process.stderr),
  fetch: globalThis.fetch,
  now: Date.now,
  // It ends early when the signal aborts, which is what callers want.
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => {}),
  onInterrupt: (react) => listen(process, "SIGINT", react),
  onResize: (react) => listen(process.stdout, "resize", react),
  run: runProgram,
  canAsk: process.stdin.isTTY === true,
  ask,
};

// A reader that has seen enough (`belay log | head`) is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
}

process.exitCode = await runCli(process.argv.slice(2), version, outside);

function outputOf(stream: NodeJS.WriteStream): Output {
  return {
    get isTty() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns || COLUMNS_OF_A_LOG;
    },
    get rows() {
      return stream.rows || 24;
    },
    write: (text) => void stream.write(text),
  };
}

function listen(source: NodeJS.EventEmitter, event: string, react: () => void): () => void {
  source.on(event, react);
  return () => void source.off(event, react);
}

async function ask(question: string, signal: AbortSignal): Promise<string | null> {
  if (!process.stdin.isTTY) return null;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const closed = new AbortController();
    lines.once("close", () => closed.abort());
    lines.once("SIGINT", () => process.emit("SIGINT"));
    return await lines.question(question, { signal: AbortSignal.any([signal, closed.signal]) });
  } catch (error) {
    if ((error as Error).name === "AbortError") return null;
    throw error;
  } finally {
    lines.close();
  }
}

function runProgram([program = "", ...args]: readonly string[], input: string) {
  return new Promise<{ code: number; output: string }>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    // One that ends without reading says why by itself.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/** A user that has no entry in the password database still has a number. */
function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return process.env.USER ?? `uid-${process.getuid?.() ?? "unknown"}`;
  }
}
