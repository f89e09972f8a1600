import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { BelayError } from "@belay/shared";
import type { KnownHost } from "./known-hosts.js";
import { cpuMsOf } from "./processor.js";
import type { Answer, Failures, Order, Return } from "./talk.js";

const PROGRAM = fileURLToPath(new URL("./crowd-process.ts", import.meta.url));
const START_TIMEOUT_MS = 120_000;
/** Two handshakes each, all ends on this machine, and others on it too. */
const START_TIMEOUT_MS_PER_AGENT = 40;
/** For an answer that takes no time, from a process that may be busy. */
const BRACE_TIMEOUT_MS = 30_000;
const STOP_PATIENCE_MS = 10_000;

/** Agents, spread over processes of their own. */
export class Crowd {
  readonly #members: readonly Member[];

  private constructor(members: readonly Member[]) {
    this.#members = members;
  }

  /** Starts them all; resolves when each has been welcomed, and has told what is on its host. */
  static async start(options: {
    controller: string;
    dir: string;
    hosts: readonly KnownHost[];
    processes: number;
  }): Promise<Crowd> {
    const { controller, dir, processes } = options;
    const share = Math.ceil(options.hosts.length / processes);
    const members = Array.from(
      { length: processes },
      (_, index) => new Member(options.hosts.slice(index * share).slice(0, share)),
    );
    const crowd = new Crowd(members);
    const timeoutMs = START_TIMEOUT_MS + options.hosts.length * START_TIMEOUT_MS_PER_AGENT;
    try {
      await Promise.all(members.map(({ hosts, ask }) => ask({ type: "start", controller, dir, hosts }, timeoutMs)));
      return crowd;
    } catch (error) {
      await crowd.stop();
      throw error;
    }
  }

  /**
   * Resolves when belayd has acknowledged `perHost` more outcomes to each of the first `hosts` agents: step by step, when
   * its agent heard so. Ask before the steps are sent.
   */
  async acknowledged(hosts: number, perHost: number, timeoutMs: number): Promise<ReadonlyMap<string, number>> {
    let rest = hosts;
    const answers = this.#members.map((member) => {
      const asked = Math.min(rest, member.hosts.length);
      rest -= asked;
      return asked === 0 ? null : member.ask({ type: "gather", acks: asked * perHost }, timeoutMs);
    });
    const all = await Promise.all(answers);
    return new Map(all.flatMap((answer) => (answer?.type === "gathered" ? [...answer.acks] : [])));
  }

  get size(): number {
    return this.#members.reduce((sum, { hosts }) => sum + hosts.length, 0);
  }

  /** From now on it counts who comes back; with `backoff` false, agents dial anew without waiting. */
  async brace(backoff: boolean): Promise<void> {
    await Promise.all(this.#members.map(({ ask }) => ask({ type: "brace", backoff }, BRACE_TIMEOUT_MS)));
  }

  /**
   * Resolves when all agents have come back since `brace`, or when `withinMs` are over. With `cut`, their connections are cut
   * first, by their own end.
   */
  async comeBack(cut: boolean, withinMs: number): Promise<{ returns: readonly Return[]; failures: Failures }> {
    const order: Order = { type: "come-back", cut, withinMs };
    const answers = await Promise.all(this.#members.map(({ ask }) => ask(order, withinMs + BRACE_TIMEOUT_MS)));
    const all = answers.flatMap((answer) => (answer.type === "returned" ? [answer] : []));
    const failures: Record<string, number> = {};
    for (const [why, count] of all.flatMap((each) => Object.entries(each.failures))) {
      failures[why] = (failures[why] ?? 0) + count;
    }
    return { returns: all.flatMap(({ returns }) => returns), failures };
  }

  /** Processor time of all agents so far, milliseconds. */
  async cpuMs(): Promise<number> {
    const each = await Promise.all(this.#members.map(({ pid }) => cpuMsOf(pid)));
    return each.reduce((sum, ms) => sum + ms, 0);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.stop()));
  }
}

class Member {
  readonly hosts: readonly KnownHost[];
  readonly #child: ChildProcess;

  constructor(hosts: readonly KnownHost[]) {
    this.hosts = hosts;
    this.#child = fork(PROGRAM, [], { execArgv: ["--import=tsx"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** One order at a time. Throws `bench-agents` when it fails, ends, or takes longer than `timeoutMs`. */
  ask = async (order: Order, timeoutMs: number): Promise<Answer> => {
    const timeout = AbortSignal.timeout(timeoutMs);
    const dead = new AbortController();
    const end = () => dead.abort();
    this.#child.once("exit", end);
    try {
      const answered = once(this.#child, "message", { signal: AbortSignal.any([timeout, dead.signal]) });
      this.#child.send(order);
      const [answer] = (await answered) as [Answer];
      if (answer.type === "failed") throw new BelayError("bench-agents", answer.message);
      return answer;
    } catch (error) {
      if (dead.signal.aborted) throw new BelayError("bench-agents", "a process full of agents has ended");
      if (timeout.aborted) throw new BelayError("bench-agents", `${order.type} took longer than ${timeoutMs / 1000} s`);
      throw error;
    } finally {
      this.#child.off("exit", end);
    }
  };

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), STOP_PATIENCE_MS);
    if (this.#child.connected) this.#child.disconnect();
    await exited;
    clearTimeout(patience);
  }
}
