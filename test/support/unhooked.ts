/**
 * A command as file and arguments that runs without the test runner's NODE_OPTIONS. The runner puts them into the
 * environment of every Node it sees started, which instruments and slows our programs, and breaks the compiler; env(1) takes
 * them out behind its back, and then becomes the program itself, under the same pid.
 */
export function unhooked(argv: readonly string[]): [file: string, args: string[]] {
  return ["/usr/bin/env", ["-u", "NODE_OPTIONS", ...argv]];
}
