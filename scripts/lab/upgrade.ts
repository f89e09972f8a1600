import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "../demo/screen.js";
import { belayArgv } from "./belay.js";
import type { Lab } from "./lab.js";

const LOOK_EVERY_MS = 500;

interface OpenGate {
  readonly run: string;
  readonly gate: string;
  readonly kind: string;
}

/** Shows a command as a person would type it on the control host, and what it prints. Answers that. */
export async function show(lab: Lab, args: readonly string[], alsoFine: readonly number[] = []): Promise<string> {
  say(`$ belay ${args.join(" ")}`);
  const { stdout } = await lab.belay(args, alsoFine);
  say(stdout.replace(/^(?=.)/gm, "  ").trimEnd());
  return stdout;
}

/** Runs a command of the control host on this very terminal; answers its exit code. */
export function live(lab: Lab, args: readonly string[]): Promise<number> {
  say(`$ belay ${args.join(" ")}`);
  const [file = "", ...rest] = lab.control.enter([...belayArgv(), ...args]);
  const child = spawn(file, rest, { stdio: "inherit" });
  return new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)));
}

/** Approves every gate between stages as soon as it opens, by the command a person would type. Failure gates are left alone. */
export function approveAll(lab: Lab): { stop(): Promise<void> } {
  let going = true;
  const work = (async () => {
    while (going) {
      for (const { run, gate, kind } of await lab.ask<OpenGate[]>(["gate", "list"])) {
        if (kind === "failure") continue;
        await lab.belay(["gate", "approve", gate, "--run", run, "--reason", "approved by lab --yes"]);
      }
      await sleep(LOOK_EVERY_MS);
    }
  })();
  // Told by `stop`; nobody else waits for it.
  work.catch(() => {});
  return {
    async stop() {
      going = false;
      await work;
    },
  };
}

/** Plans, and answers the plan's id as people type it. */
export async function planTo(lab: Lab, version: string): Promise<string> {
  const id = /plan ([0-9a-f]{12})/.exec(await show(lab, ["plan", "--to", version], [2]))?.[1];
  if (id === undefined) throw new Error("belay plan named no plan");
  return id;
}
