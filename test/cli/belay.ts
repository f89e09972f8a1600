process.env.TZ = "UTC";

import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Output, Outside } from "@belay/controller/cli/outside";
import { runCli } from "@belay/controller/cli/program";
import { type FakeBelayd, TOKEN } from "./belayd.js";
import { START } from "./samples.js";

const BIN = fileURLToPath(new URL("../../packages/controller/bin/belay.js", import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

type Env = Readonly<Record<string, string>>;

/** One command line in this process, at a fixed time, towards a stand-in for belayd; no terminal. */
export async function belay(
  args: readonly string[],
  belayd: FakeBelayd | null,
  env: Env = {},
  more: Partial<Outside> = {},
): Promise<Ran> {
  const out = sink();
  const err = sink();
  const outside: Outside = {
    env: envFor(belayd, env),
    home: "/nonexistent",
    userName: "login",
    out,
    err,
    fetch: globalThis.fetch,
    now: () => START + 90_000,
    sleep: (ms, signal) => sleep(Math.min(ms, 20), undefined, { signal }).catch(() => {}),
    onInterrupt: () => () => {},
    onResize: () => () => {},
    run: async ([program]) => {
      throw new Error(`${program} was run`);
    },
    canAsk: false,
    ask: async () => null,
    ...more,
  };
  const code = await runCli(args, "0.1.0", outside);
  return { code, out: out.text, err: err.text };
}

export interface Sink extends Output {
  text: string;
}

/** An output that keeps what was written. */
export function sink(isTty = false, columns = 100, rows = 40): Sink {
  return {
    text: "",
    isTty,
    columns,
    rows,
    write(text) {
      this.text += text;
    },
  };
}

/** A belay that is running. */
export interface Running {
  readonly ended: Promise<Ran>;
  /** Resolves as soon as the text has come out. */
  says(text: string): Promise<void>;
  interrupt(): void;
}

/** The real program as people start it, away from this machine's own configuration. */
export function start(args: readonly string[], belayd: FakeBelayd | null, env: Env = {}): Running {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { PATH: process.env.PATH, HOME: "/nonexistent", TZ: "UTC", ...envFor(belayd, env) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  const hopes: { readonly text: string; readonly resolve: () => void }[] = [];
  const look = () => {
    for (const { text, resolve } of hopes) if (out.includes(text) || err.includes(text)) resolve();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    look();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
    look();
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, out, err }));
  return {
    ended,
    says: (text) =>
      Promise.race([
        new Promise<void>((resolve) => {
          hopes.push({ text, resolve });
          look();
        }),
        ended.then((ran) => {
          if (!ran.out.includes(text) && !ran.err.includes(text)) {
            throw new Error(`belay ended (${ran.code}) and never said ${text}:\n${ran.out}\n${ran.err}`);
          }
        }),
      ]),
    interrupt: () => void child.kill("SIGINT"),
  };
}

function envFor(belayd: FakeBelayd | null, env: Env): Env {
  const way = belayd === null ? {} : { BELAY_SERVER: belayd.url, BELAY_TOKEN: TOKEN };
  return { ...way, ...env };
}
