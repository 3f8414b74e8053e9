// Package linear checks what one host promises its clients: that what they do to one object takes effect one change
// after the other, each at some moment between question and answer, and stays so over a kill of the agent.
//
// Clients apply, create, read, update and delete a few objects, all at once, and note when they asked, when the answer
// came and what it was. A checker (github.com/anishathalye/porcupine) then looks for one order that explains all
// answers. A request without an answer may have been carried out at any time after it was sent, or never.
package linear
