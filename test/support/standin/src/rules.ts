import { type Instance, isAlive } from "./alive.js";
import { mayShareBackend, upgradePath } from "./compat.js";

/** What a backend remembers of itself, read at one moment. */
export interface State {
  /** The version that last wrote it; null: nobody ever did. */
  readonly version: string | null;
  /** What corrupted it, for good; null: nothing did. */
  readonly corrupted: string | null;
  /** Id of the instance that migrates it, or that did until it died. */
  readonly migrator: string | null;
  readonly instances: readonly Instance[];
}

/** What is to be written, all of it or nothing, and only while the state is still the one that was judged. */
export interface Changes {
  readonly meta: Partial<Record<"version" | "corrupted" | "migrator", string>>;
  readonly alive: Instance;
  /** Ids of instances to be forgotten. */
  readonly dead: readonly string[];
}

/** May this auth start on this backend, and what has to happen first? */
export type Admission =
  | { readonly kind: "ready" }
  | { readonly kind: "migrate"; readonly from: string }
  /** Another live auth of this major is migrating: wait, and ask again. */
  | { readonly kind: "wait" }
  | { readonly kind: "refused"; readonly why: string };

/** What a backend is like to the auth that runs on it. */
export interface Standing {
  readonly corrupted: string | null;
  /** It was restored under the running auth, whose state is no longer what it thinks. */
  readonly replaced: boolean;
}

/** How many resources an empty backend is filled with. */
export const RESOURCES = 200;

/** What an empty backend is filled with, in the format of this major. */
export function firstResources(major: number): { name: string; spec: string; format: number }[] {
  return Array.from({ length: RESOURCES }, (_, i) => ({
    name: `role/${i + 1}`,
    spec: JSON.stringify({ allow: i + 1 }),
    format: major,
  }));
}

/** Asks to come in, with so many resources in another major's format. Whoever is admitted counts as alive from here on. */
export function admit(state: State, me: Instance, unmigrated: number): { admission: Admission; changes?: Changes } {
  const refused = (why: string) => ({ admission: { kind: "refused", why } as const });
  if (state.corrupted !== null) return refused(`backend corrupted: ${state.corrupted}`);
  const from = state.version ?? me.version;
  if (state.version !== null && upgradePath(from, me.version) === "unsupported") {
    return refused(`Unsupported upgrade path detected: from ${from} to ${me.version}`);
  }
  const alive = beat(state, me);
  if (alive.meta.corrupted !== undefined) return { admission: { kind: "ready" }, changes: alive };
  const migrating = othersOf(state, me).living.some((other) => other.id === state.migrator);
  if (migrating) return { admission: { kind: "wait" }, changes: alive };
  // The version is written before the work: from here on the old binary can't go back, done or not.
  const meta = { version: me.version, ...(unmigrated === 0 ? {} : { migrator: me.id }) };
  return {
    admission: unmigrated === 0 ? { kind: "ready" } : { kind: "migrate", from },
    changes: { ...alive, meta },
  };
}

/** Says "I am alive" and looks who else is; two majors at once corrupt the backend, for good. */
export function beat(state: State, me: Instance): Changes {
  const { living, dead } = othersOf(state, me);
  const stranger = living.find((other) => !mayShareBackend(other.version, me.version));
  const meta =
    stranger === undefined || state.corrupted !== null
      ? {}
      : {
          corrupted: `auth ${me.version} (${me.name}) and auth ${stranger.version} (${stranger.name}) ran on it together`,
        };
  return { meta, alive: { ...me, at: Date.now() }, dead: dead.map((instance) => instance.id) };
}

function othersOf(state: State, me: Instance): { living: Instance[]; dead: Instance[] } {
  const others = state.instances.filter((instance) => instance.id !== me.id);
  return { living: others.filter(isAlive), dead: others.filter((instance) => !isAlive(instance)) };
}
