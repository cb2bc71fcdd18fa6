import { homeOf } from '../../deploy/cells/move/guard.js';
import type { Cell, CellName, World } from './world.js';

/** Enough for a move to read its file and to connect. */
const START_MS = 300;

/** Longer than the move of a large account takes on a busy machine. A move that lasts longer is killed, and so fails. */
const PATIENCE_MS = 300_000;

/**
 * Runs a move to its end.
 *
 * @returns what it has printed
 */
export async function moved(world: World, account: string, to: CellName): Promise<string> {
  const program = world.move(account, to);
  const timer = setTimeout(() => void program.end(), PATIENCE_MS);
  const end = await program.ended;
  clearTimeout(timer);
  if (end !== 0) throw new Error(`${program.name} ended with ${end}\n${program.output}`);
  return program.output;
}

/** Kills a move as soon as it has reported a step, or just after its start. */
export async function killedMove(world: World, account: string, to: CellName, step: string): Promise<void> {
  const program = world.move(account, to);
  await program.expect<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(`has not reported ${step} in ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
    const look = () => program.output.includes(`${step}: `) && resolve();
    program.child.stderr?.on('data', look);
    const early = step === 'start' ? setTimeout(resolve, START_MS) : undefined;
    return () => {
      clearTimeout(timer);
      clearTimeout(early);
      program.child.stderr?.off('data', look);
    };
  });
  await program.end();
}

/** The home of an account, by the database of its old cell. */
export async function homeIn({ name, postgres }: Cell, account: string): Promise<string> {
  return (await homeOf({ query: (text, values) => postgres.sql(text, values) }, account)) ?? name;
}
