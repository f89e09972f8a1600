import type { Profile } from "./profile.js";

/**
 * The agents themselves, as data: every host counts as a node, whatever else it is, and its own agent carries out its own
 * upgrade. Nothing that an agent upgrade touches needs a backup: the old version's folder stays, and the journal is shared.
 * The variables have names of their own, so that those of the fleet's product mean nothing here.
 */

const probe = {
  service: "belay-agent",
  versionsDir: "{agentVersions}",
  link: "{agentLink}",
  version: [{ kind: "agent" }],
  checks: [{ kind: "process" }],
  disks: ["{agentVersions}"],
};

const preflight = {
  kind: "preflight",
  probe,
  expect: "{from}",
  needs: [{ path: "{agentVersions}", bytes: "{fetchBytes}", inodes: 1000 }],
  healthy: true,
};

const upgrade = {
  kind: "upgrade-agent",
  versionsDir: "{agentVersions}",
  link: "{agentLink}",
  from: "{from}",
  to: "{to}",
  sha256: "{sha256}",
  settleMs: "{agentSettleMs}",
  returnMs: "{agentReturnMs}",
};

/** It was welcomed a moment ago, so there is nothing to wait for. */
const verify = { kind: "health", probe, expect: "{to}", settleMs: 0, timeoutMs: 10_000 };

/** The run may go back until its end; after that, what it came from is still what an agent on its own would go back to. */
const prune = {
  kind: "prune",
  versionsDir: "{agentVersions}",
  link: "{agentLink}",
  keep: "{keptVersions}",
  // No backup is ever made there, nor anywhere else: those of the fleet's product are for its own runs to remove.
  backupsDir: "{agentInstall}/backups",
  keepBackups: 1,
};

export const belayAgent: Profile = {
  product: "belay-agent",
  ofAgents: true,
  vars: {
    agentInstall: "/opt/belay/agent",
    agentVersions: "{agentInstall}/versions",
    agentLink: "{agentInstall}/current",
    // How long a new agent must stay connected, and after which time without that its old version returns.
    agentSettle: "5s",
    agentReturn: "30s",
  },
  probe: { auth: probe, proxy: probe, node: probe },
  managed: { path: "/", pointer: "" },
  unpackedPerPacked: 4,
  programs: {
    preflight: [preflight],
    fetch: [
      {
        kind: "fetch",
        version: "{to}",
        source: "{source}",
        sha256: "{sha256}",
        size: "{size}",
        versionsDir: "{agentVersions}",
        strip: 1,
        maxUnpackedBytes: "{maxUnpackedBytes}",
      },
    ],
    node: [upgrade],
    verify: [verify],
    "verify-last": [verify, prune],
    // What is still there needs no room.
    "back-preflight": [{ ...preflight, needs: [], healthy: false }],
    "back-node": [{ ...upgrade, sha256: null }],
    "back-verify": [verify],
  },
};
