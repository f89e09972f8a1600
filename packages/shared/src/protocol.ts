/**
 * The versions of the protocol that this build speaks. A new one is made when a message or an op gains something that an
 * older peer doesn't know; what it gained says so where it stands, with `since`.
 */
export const PROTOCOL = { oldest: 1, newest: 2 } as const;

export interface ProtocolRange {
  readonly oldest: number;
  readonly newest: number;
}

const NAME = /^belay\.([1-9][0-9]{0,5})$/;

/**
 * What a dialling agent offers as WebSocket subprotocols, oldest first: a belayd of protocol 1, which knows nothing of
 * this, answers with the first of them.
 */
export function offerProtocols({ oldest, newest }: ProtocolRange = PROTOCOL): string[] {
  return Array.from({ length: newest - oldest + 1 }, (_, index) => `belay.${oldest + index}`);
}

/**
 * The newest version that is offered and that this side speaks. An agent of protocol 1 offers nothing, and is met at that.
 * Null: there is none.
 */
export function chooseProtocol(offered: Iterable<string>, { oldest, newest }: ProtocolRange = PROTOCOL): number | null {
  const names = [...offered];
  const theirs = names.length === 0 ? [1] : names.map((name) => protocolNamed(name)).filter((one) => one !== null);
  const common = theirs.filter((one) => one >= oldest && one <= newest);
  return common.length === 0 ? null : Math.max(...common);
}

/** The version that a subprotocol names; none was agreed on: 1. Null for a name that is not ours. */
export function protocolNamed(name: string): number | null {
  if (name === "") return 1;
  const version = NAME.exec(name)?.[1];
  return version === undefined ? null : Number(version);
}
