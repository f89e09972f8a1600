import type { Logger } from "pino";
import type { Config } from "../config.js";
import { PeopleStore } from "../store/people.js";
import type { Store } from "../store/sqlite.js";
import { Logins } from "./logins.js";
import { People } from "./people.js";
import { Provider } from "./provider.js";
import { Sessions } from "./sessions.js";

export interface OpenPeople {
  readonly people: People;
  readonly sessions: Sessions;
  readonly logins: Logins | null;
}

/** Without a provider no session begins; those of before, when there was one, end as they would have. */
const WITHOUT_PROVIDER = { sessionMs: 0, idleMs: 0 } as const;

/** Puts together all that is about people. */
export async function openPeople(
  { groups, oidc }: Pick<Config, "groups" | "oidc">,
  parts: {
    readonly store: Store;
    readonly now: () => number;
    readonly newSecret: () => string;
    readonly hash: (secret: string) => string;
    readonly log: Logger;
  },
): Promise<OpenPeople> {
  const { now, newSecret, hash, log } = parts;
  const store = new PeopleStore(parts.store);
  const people = await People.open({ store, now, newSecret, hash, groups });
  const { sessionMs, idleMs } = oidc ?? WITHOUT_PROVIDER;
  const sessions = new Sessions({ store, now, newSecret, hash, sessionMs, idleMs });
  const logins =
    oidc === null ? null : new Logins({ config: oidc, provider: new Provider(oidc), people, now, newSecret, log });
  return { people, sessions, logins };
}
