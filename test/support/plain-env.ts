/** This process's environment without the test runner's own NODE_OPTIONS, which would instrument and slow every program below. */
export function plainEnv(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return env;
}
