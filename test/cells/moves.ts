import type { Cell, CellName, World } from './world.js';

/** Enough for a move to read its file and to connect. */
const START_MS = 300;

/** Runs a move to its end. */
export async function moved(world: World, account: string, to: CellName): Promise<void> {
  const program = world.move(account, to);
  const end = await program.ended;
  if (end !== 0) throw new Error(`${program.name} ended with ${end}\n${program.output}`);
}

/** Kills a move as soon as it has reported a step, or just after its start. */
export async function killedMove(world: World, account: string, to: CellName, step: string): Promise<void> {
  const program = world.move(account, to);
  await program.expect<void>((resolve) => {
    const look = () => program.output.includes(`${step}: `) && resolve();
    program.child.stderr?.on('data', look);
    const early = step === 'start' ? setTimeout(resolve, START_MS) : undefined;
    return () => {
      clearTimeout(early);
      program.child.stderr?.off('data', look);
    };
  });
  await program.end();
}

/** The home of an account, by the database of its old cell. */
export async function homeOf({ name, database }: Cell, account: string): Promise<string> {
  const [guard] = await database.query(`SELECT to_regclass('cells.homes') IS NOT NULL AS exists`);
  if (!guard?.['exists']) return name;
  const [home] = await database.query('SELECT cell FROM cells.homes WHERE account_id = $1', [account]);
  return (home?.['cell'] as string | undefined) ?? name;
}
