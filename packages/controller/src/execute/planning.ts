import { BelayError, errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { PlanAnswer, PlanRequest } from "../api/contract.js";
import type { Sight } from "../fleet/presence.js";
import type { Fleet } from "../inventory/fleet.js";
import type { FleetFacts, HostFact, PlanInput } from "../plan/input.js";
import { findings as findingsOf } from "../plan/lint.js";
import type { Plan, PlanResult } from "../plan/plan.js";
import { upgradePlan } from "../plan/planner.js";
import type { Profile } from "../products/profile.js";
import { type AgentRollout, factsSeenBy, fleetSeenBy } from "../products/viewpoint.js";
import type { Catalogue } from "../releases/catalogue.js";
import { byPieces } from "./by-pieces.js";
import type { ByPerson } from "./ports.js";

/** What planning needs of the world, each read anew for every plan. */
export interface PlanningSources {
  fleet(): Promise<Fleet>;
  profileOf(product: string): Profile;
  catalogue(product: string): Promise<Catalogue>;
  sightOf(host: string): Readonly<Sight> | null;
  /** Every host ever seen, declared or not. */
  seenHosts(): Iterable<string>;
  quarantined(): Promise<readonly { host: string; reason: string }[]>;
  /** The version a managed cluster answers now; throws when it doesn't. */
  askManaged(address: string, profile: Profile): Promise<string>;
  save(plan: Plan, by: string, at: number): Promise<void>;
  now(): number;
  readonly log: Logger;
  /** This belayd's own version. */
  readonly version: string;
}

/**
 * Gathers what is known, plans, has the plan checked by the linter, which shares no code with the planner, and saves it.
 * A plan that the linter finds fault with is a defect of Belay: it is refused, loudly, never run.
 */
export class Planning {
  readonly #sources: PlanningSources;

  constructor(sources: PlanningSources) {
    this.#sources = sources;
  }

  async plan(request: ByPerson<PlanRequest>): Promise<PlanAnswer> {
    const input = await this.#gather(request);
    return this.keep(await byPieces(upgradePlan(input)), input.fleet, input.facts, request.by);
  }

  /** Lints and saves what a planner answered. Throws `plan-broken`. */
  async keep(result: PlanResult, fleet: Fleet, facts: FleetFacts, by: string): Promise<PlanAnswer> {
    if (!result.ok) return { ok: false, to: result.to, blocked: result.blocked, risks: result.risks };
    const findings = await byPieces(findingsOf(result.plan, fleet, facts));
    if (findings.length > 0) {
      this.#sources.log.error({ plan: result.plan.id, findings: findings.slice(0, 20) }, "a plan breaks invariants");
      throw new BelayError("plan-broken", `the linter refuses this plan: ${findings[0]?.message}`, {
        hint: "This is a defect of Belay; nothing was saved. Please report it with the output of `belay plan --json`.",
        context: { findings: findings.slice(0, 20) },
      });
    }
    const changes = result.plan.hops.length > 0;
    if (changes) await this.#sources.save(result.plan, by, this.#sources.now());
    return { ok: true, changes, plan: result.plan };
  }

  /** The fleet as a product sees it (the fleet's own unless it is said), and what is known of it right now. */
  async known(
    product?: string,
    rollout?: AgentRollout,
  ): Promise<{ fleet: Fleet; profile: Profile; facts: FleetFacts }> {
    const declared = await this.#sources.fleet();
    const profile = this.#sources.profileOf(product ?? declared.product);
    const fleet = fleetSeenBy(profile, declared, rollout);
    return { fleet, profile, facts: await this.#facts(fleet, profile) };
  }

  async #facts(fleet: Fleet, profile: Profile): Promise<FleetFacts> {
    const hosts: Record<string, HostFact> = {};
    for (const host of this.#sources.seenHosts()) {
      const sight = this.#sources.sightOf(host);
      if (sight === null) continue;
      const facts = factsSeenBy(profile, sight.facts);
      const agentVersion = sight.agentVersion ?? facts?.agentVersion ?? null;
      const installed = facts?.installed ?? facts?.running ?? null;
      hosts[host] = {
        // What it said on its newest connection is newer than any facts.
        version: profile.ofAgents ? agentVersion : installed,
        agent: { version: agentVersion, protocol: sight.protocol },
        reachable: sight.present,
        os: facts?.os ?? "linux",
        arch: facts?.arch ?? "amd64",
        edition: facts?.edition ?? "oss",
        fips: facts?.fips ?? false,
        ...(facts === null ? {} : { kept: facts.kept }),
        ...(facts?.service.definition === undefined ? {} : { definition: facts.service.definition }),
      };
    }
    // A declared host that never called is known by its absence.
    for (const { hosts: declared } of fleet.clusters) {
      for (const { name } of declared) {
        hosts[name] ??= { version: null, reachable: false, os: "linux", arch: "amd64", edition: "oss", fips: false };
      }
    }
    return { hosts, managed: await this.#askTenants(fleet, profile) };
  }

  async #gather(request: ByPerson<PlanRequest>): Promise<PlanInput> {
    const { product, rollout } = request;
    const [{ fleet, profile, facts }, onRecord] = await Promise.all([
      this.known(product, rollout),
      this.#sources.quarantined(),
    ]);
    const catalogue = await this.#sources.catalogue(profile.product);
    const declared = new Set(fleet.clusters.flatMap((cluster) => cluster.hosts.map((host) => host.name)));
    const quarantine = new Map(
      onRecord.filter(({ host }) => declared.has(host)).map(({ host, reason }) => [host, reason]),
    );
    for (const host of request.quarantine ?? []) quarantine.set(host, `asked for by ${request.by} with the plan`);
    return {
      fleet,
      profile,
      catalogue,
      facts,
      to: request.to,
      via: request.via ?? [],
      acceptRisks: (request.acceptRisks ?? []).map((risk) => ({ ...risk, by: request.by })),
      quarantine: [...quarantine].map(([host, reason]) => ({ host, reason })),
      clusters: request.clusters ?? [],
      limit: request.limit ?? [],
      belayd: this.#sources.version,
    };
  }

  async #askTenants(fleet: Fleet, profile: Profile): Promise<FleetFacts["managed"]> {
    const answers = await Promise.all(
      fleet.clusters.map(async ({ name, managed }) => {
        if (managed === undefined) return null;
        try {
          return [name, { server_version: await this.#sources.askManaged(managed.address, profile) }] as const;
        } catch (error) {
          this.#sources.log.warn({ cluster: name, error: errorInfo(error) }, "managed cluster does not answer");
          return [name, { server_version: null }] as const;
        }
      }),
    );
    return Object.fromEntries(answers.filter((answer) => answer !== null));
  }
}
