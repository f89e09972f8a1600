import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import { type AgentMessage, errorInfo } from "@belay/shared";
import { AGENT_VERSION } from "./about.js";
import { allowedBy } from "./allowed.js";
import { Approvals } from "./approvals/approvals.js";
import { looksOnly } from "./approvals/reading.js";
import type { Clock } from "./clock.js";
import type { AgentConfig, SelfConfig } from "./config.js";
import type { Exec } from "./exec.js";
import { Banner } from "./facts/banner.js";
import { roomAt } from "./facts/disk.js";
import { FactsReporter } from "./facts/reporter.js";
import type { Host, Machine } from "./host.js";
import type { Http } from "./http.js";
import type { HostIdentity } from "./identity/host-identity.js";
import type { JournalDisk } from "./journal/disk.js";
import { Journal } from "./journal/journal.js";
import { Limits } from "./limits/limits.js";
import type { Controller, Dial } from "./link/socket.js";
import { DEFAULT_REDIAL, Link, type RedialPolicy } from "./link/supervisor.js";
import type { Logger } from "./log.js";
import { openSelf, type Self } from "./self/self.js";
import { SELF_SERVICE, SelfService } from "./self/self-service.js";
import { UpgradeFiles } from "./self/upgrade-files.js";
import { openServices } from "./service/services.js";
import { Steps } from "./steps/steps.js";
import { WitnessMemory } from "./witness/memory.js";
import { Witness } from "./witness/witness.js";

/** Everything an agent needs from the world. daemon.ts hands in the real one; tests and benchmarks their own. */
export interface AgentOptions {
  config: AgentConfig;
  /** Where belayd is, and how it is called. */
  controller: Controller;
  /** Who this host is, over TLS; left out: it is known by a token in the clear. */
  identity?: HostIdentity;
  clock: Clock;
  /** In [0, 1): spreads redials. */
  random: () => number;
  dial: Dial;
  http: Http;
  exec: Exec;
  log: Logger;
  machine: Machine;
  journalDisk: JournalDisk;
  /** What supervised services inherit. */
  env: Readonly<Record<string, string>>;
  /** Ends this process soon, so that whoever supervises it starts what is installed then. */
  leave: () => void;
  redial?: RedialPolicy;
  downloadIdleMs?: number;
  /** Who supervises this host's services; by default whoever agent.yaml says. */
  openServices?: typeof openServices;
}

export interface Agent {
  /** Settles as long as the journal, without which nothing is done, can be written. */
  alive(): Promise<void>;
  /** Stops cleanly: services go on, open steps stay in the journal. */
  stop(): Promise<void>;
}

const DOWNLOAD_IDLE_MS = 30_000;

/**
 * Starts an agent: opens its journal, finds its services, takes up open steps, and only then dials. Rejects if the journal
 * or a service's state is damaged.
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { config, clock, log, exec, http, identity } = options;
  const journal = await Journal.open(options.journalDisk, { id: randomUUID, now: clock.now() });
  const witness = await Witness.open(new WitnessMemory(config.stateDir), config.auditKey, log);
  // A service may change by itself before there is anybody to tell it to.
  let serviceChanged = () => {};
  const open = options.openServices ?? openServices;
  const services = await open(config, { clock, exec, log, env: options.env, changed: () => serviceChanged() });
  if (config.self !== null) services.set(SELF_SERVICE, new SelfService(process.pid));
  const host: Host = {
    name: config.host,
    machine: options.machine,
    allowed: allowedBy(config, services),
    clock,
    http,
    exec,
    log,
    banner: new Banner(),
    controller: options.controller,
    downloadIdleMs: options.downloadIdleMs ?? DOWNLOAD_IDLE_MS,
    stateDir: config.stateDir,
    hooksDir: config.hooksDir,
    identityFile: config.identityFile,
    self: config.self === null ? null : selfOf(config.self),
  };
  function selfOf(supervised: SelfConfig): Self {
    const files = new UpgradeFiles(config.stateDir);
    const { leave } = options;
    const parts = {
      configFile: config.file,
      leave,
      servedMs: () => link.servedMs,
      lastTrouble: () => link.lastTrouble,
    };
    return openSelf(supervised, { exec, clock, files }, parts);
  }
  const send = (message: AgentMessage) => link.send(message);
  const reporter = new FactsReporter(host, send);
  serviceChanged = () => reporter.report();
  const limits = new Limits(config.limits, clock);
  const approvals = new Approvals({ config: config.approve, host: config.host, clock, journal });
  const roomForJournal = () => roomAt(dirname(options.journalDisk.file));
  const tell = { changed: () => reporter.told(), toldUnwell: () => reporter.toldUnwell };
  const steps = new Steps({ journal, host, approvals, limits, send, roomForJournal, ...tell });
  const link = new Link({
    dial: options.dial,
    clock,
    random: options.random,
    log,
    policy: options.redial ?? DEFAULT_REDIAL,
    hello: (protocol) => ({
      type: "hello",
      protocol,
      host: config.host,
      agentVersion: AGENT_VERSION,
      journal: journal.id,
      open: journal
        .open()
        .map((entry) => entry.step)
        .slice(0, 1024),
      ...(journal.fence === 0 ? {} : { lease: { fence: journal.fence, line: journal.line } }),
      ...(witness.newest === null ? {} : { witnessed: witness.newest }),
    }),
    served: {
      welcomed(welcome) {
        log.info({ probe: welcome.probe !== null }, "connected");
        steps.redeliver();
        const { probe } = welcome;
        const isBelieved = config.approve.by === "controller" || probe === null;
        reporter.begin(isBelieved ? probe : looksOnly(probe), welcome.factsEveryMs);
      },
      step: (step) => void steps.receive(step).catch((error) => log.error({ error: errorInfo(error) }, "step lost")),
      ack: (step) => steps.ack(step),
      checkpoint: (checkpoint) =>
        void witness.hear(checkpoint).then((answer) => {
          if (answer !== null) send(answer);
        }),
      authorities(message) {
        identity?.trust(message).then(
          (authorities) => send({ type: "trusts", authorities }),
          (error: unknown) => log.error({ error: errorInfo(error) }, "cannot trust as belayd asks"),
        );
      },
    },
    ...(identity === undefined ? {} : { prepare: () => identity.prepare() }),
  });
  steps.resume();
  identity?.start();
  link.start();
  return {
    alive: () => journal.settled(),
    async stop() {
      await link.halt();
      await identity?.halt();
      await steps.halt();
      await reporter.end();
      await witness.settled();
      for (const service of services.values()) await service.close();
      await journal.close();
    },
  };
}
