/** A reason not to start that the user can mend. It is printed as it is, without a stack. */
export class LaunchProblem extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LaunchProblem';
  }
}
