import { realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BelayError } from "@belay/shared";
import type { AgentConfig } from "./config.js";
import type { BackendConfig } from "./config-backend.js";
import { orMissing } from "./durable.js";
import { identityDir } from "./identity/identity-file.js";
import { ownedPath } from "./owned-file.js";
import { SELF_SERVICE, unsupervised } from "./self/self-service.js";
import type { Service } from "./service/service.js";
import { isInVersion, isOfVersion, MANIFEST_NAME } from "./versions/manifest.js";

/** The one folder below `stateDir` that is no memory of the agent's own. */
const BACKUPS = "backups";
const SET_ID = 0o6000;
const EXECUTABLE = 0o111;

/** What the host's owner lets this agent touch. Every op asks here first, whoever sent it. */
export interface Allowed {
  /** Throws `path-refused` unless the path, all its links followed, lies in an allowed directory. */
  path(path: string): Promise<void>;
  /** The same for a path that is itself a link to be switched: only its folder is followed. */
  link(path: string): Promise<void>;
  /**
   * The file to run just to hear what version it is, all links followed. Throws `program-refused` for one that others than root
   * may change. On a host that believes approvers alone anybody may ask for this, so there it must also be one that its owner
   * names, or that a version's manifest does: no folder has that but by a step that people approved.
   */
  program(file: string, versionsDir: string): Promise<string>;
  /**
   * Throws `restore-refused` for what no backup may put there: files that give their owner's rights to who starts them; and where only
   * listed artifacts may be swapped in, programs, and anything in a version's folder.
   */
  restored(path: string, mode: number): Promise<void>;
  /** Throws `service-refused` for what agent.yaml doesn't list. */
  service(name: string): Service;
  /** The argument list of a command that agent.yaml lists. Throws `command-refused`. */
  command(name: string): readonly string[];
  /** The state backend that agent.yaml lists. Throws `backend-refused`. */
  backend(name: string): BackendConfig;
}

export function allowedBy(config: AgentConfig, services: ReadonlyMap<string, Service>): Allowed {
  const roots = [...config.directories, config.stateDir];
  const check = async (path: string, real: string, replaced: boolean) => {
    if (path.includes("\0")) throw new BelayError("path-refused", `${JSON.stringify(path)} has a NUL in it`);
    for (const { file, what } of ownFiles(config)) {
      const own = await realPathOf(resolve(file));
      if (!isIn(real, own) && !(replaced && isIn(own, real))) continue;
      throw new BelayError("path-refused", `${path} is ${what}, which no step may touch`, { context: { path, real } });
    }
    const memory = await realPathOf(resolve(config.stateDir));
    const isMemory = isIn(real, memory) && !isIn(real, join(memory, BACKUPS));
    const named = config.directories.map((each) => realPathOf(resolve(each)));
    const isNamed = (await Promise.all(named)).some(
      (each) => each !== memory && isIn(each, memory) && isIn(real, each),
    );
    if ((isMemory && !isNamed) || (replaced && isIn(memory, real))) {
      throw new BelayError("path-refused", `${path} is this agent's memory, which no step may touch`, {
        hint: `of ${config.stateDir} only ${BACKUPS} is for steps`,
        context: { path, real },
      });
    }
    for (const root of roots) {
      if (isIn(real, await realPathOf(resolve(root)))) return;
    }
    throw new BelayError("path-refused", `${path} is not in a directory that this host allows`, {
      hint: "add its directory to `directories` in agent.yaml, if Belay may write there",
      context: { path, real },
    });
  };
  return {
    path: async (path) => check(path, await realPathOf(resolve(path)), false),
    link: async (path) => {
      const full = resolve(path);
      await check(path, join(await realPathOf(dirname(full)), basename(full)), true);
    },
    async restored(path, mode) {
      const real = await realPathOf(resolve(path));
      const refused = (why: string) =>
        new BelayError("restore-refused", `${path} ${why}`, {
          hint: "put it back by hand, if it is what it should be",
          context: { path, real, mode },
        });
      if ((mode & SET_ID) !== 0) throw refused("would run with its owner's rights");
      if (config.limits.artifacts === null) return;
      if ((mode & EXECUTABLE) !== 0) throw refused("is a program, and only listed artifacts may bring one here");
      if (basename(real) === MANIFEST_NAME || (await isInVersion(real))) throw refused("is part of a version");
    },
    async program(file, versionsDir) {
      const real = await ownedPath(file, "program-refused");
      if (config.approve.by === "controller" || config.approve.programs.includes(resolve(file))) return real;
      await check(file, real, false);
      if (await isOfVersion(real, await realPathOf(resolve(versionsDir)))) return real;
      throw new BelayError(
        "program-refused",
        `${file} is no program of a fetched version, and agent.yaml doesn't name it`,
        {
          hint: "add it to `approve.programs` in agent.yaml, if anybody may have it run to hear its version",
          context: { file, real },
        },
      );
    },
    service(name) {
      const service = services.get(name);
      if (service !== undefined) return service;
      if (name === SELF_SERVICE) throw unsupervised();
      throw new BelayError("service-refused", `agent.yaml lists no service ${name}`, {
        hint: "add it to `services` in agent.yaml, if Belay may start and stop it",
        context: { service: name },
      });
    },
    command(name) {
      const argv = config.commands.get(name);
      if (argv !== undefined) return argv;
      throw new BelayError("command-refused", `agent.yaml lists no command ${name}`, {
        hint: "add it to `commands` in agent.yaml, if Belay may run it",
        context: { command: name },
      });
    },
    backend(name) {
      const backend = config.backends.get(name);
      if (backend !== undefined) return backend;
      throw new BelayError("backend-refused", `agent.yaml lists no backend ${name}`, {
        hint: "add it to `backends` in agent.yaml, if Belay may back it up and put it back",
        context: { backend: name },
      });
    },
  };
}

/**
 * What says whom this host believes, and what it remembers: inside of an allowed directory or not. Whoever could back them up
 * would know its secrets, and whoever could put others in their place would be its owner.
 */
function ownFiles({ file, stateDir, tokenFile, identityFile, hooksDir, approve, limits }: AgentConfig) {
  const owners = [
    { file, what: "this host's agent.yaml" },
    { file: tokenFile, what: "this host's token" },
    { file: hooksDir, what: "where this host's hooks are" },
    ...(identityFile === null ? [] : [{ file: identityFile, what: "this host's age identity" }]),
    ...(approve.by === "controller" ? [] : [{ file: approve.signers, what: "the list of its approvers" }]),
    ...(limits.artifacts === null ? [] : [{ file: limits.artifacts, what: "the list of its artifacts" }]),
  ];
  return [
    ...owners,
    { file: identityDir(resolve(stateDir)), what: "this host's identity" },
    { file: join(stateDir, "journal"), what: "this agent's journal" },
  ];
}

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/** A path with its links followed as far as it exists; the rest, which can't be links yet, is appended. */
async function realPathOf(path: string): Promise<string> {
  if (path.includes("\0")) throw new BelayError("path-refused", `${JSON.stringify(path)} has a NUL in it`);
  const real = await orMissing(realpath(path));
  if (real !== null || path === "/") return real ?? path;
  return join(await realPathOf(dirname(path)), basename(path));
}
