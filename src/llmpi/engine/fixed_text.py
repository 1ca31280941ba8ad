"""A text for what needs one on a device that holds nothing but the model."""

from llmpi.engine.llama import Engine, EngineError

# Of our own writing, so that no model has seen it: prose, numbers, speech, a list, some code.
TEXT = """\
The ferry to the island leaves twice a day, at seven in the morning and at half past four. In
winter there is only one, and when the wind comes from the north it does not sail at all. Marta
had lived there for thirty-one years and had learned to keep flour, candles and two sacks of
potatoes in the cellar. "You cannot argue with the sea," she used to say, "but you can be ready
for it." On the morning of 3 February the harbour was covered with ice, and the captain told her
that the engine would not start.

She walked home, lit the stove and opened the letter from her brother. He wrote that the small
computer she had bought, a board no larger than a playing card, could answer questions without any
connection to the mainland. It used about 6 watts, cost 80 euros and needed nothing but a power
supply and a memory card with at least 32 gigabytes. He had written down what to do first:

1. Put the card into the slot on the lower side.
2. Connect the screen and the keyboard before the power supply.
3. Wait until the green light stops blinking, then type your name.

Marta did as he said. After a minute the screen showed a line of text, and below it a short
program that her brother had left for her:

def greet(name):
    for i in range(3):
        print("Good morning, " + name + "!")

She laughed, because he had never been able to say anything only once. Then she asked the machine
how long a loaf of rye bread should stay in the oven, and whether the ferry would sail tomorrow. The
first answer was correct. The second was that nobody could know, which she thought was wise.
"""

AGAIN = "\n\nThe same text once more, word for word:\n\n"
BEGUN = 8
"""So many tokens of the copy stand there already."""


def passage(engine: Engine, count: int) -> list[int]:
    """A prompt of `count` tokens, which a model goes on with by copying.

    It is the text, as often as there is room for it, and the beginning of its copy.

    Raises:
        EngineError: `count` leaves no room for a text to copy.
    """
    text, again = engine.tokenize(TEXT), engine.tokenize(AGAIN)
    special = text[:1] if text[0] == again[0] else []
    text, again = text[len(special) :], again[len(special) :]
    room = count - len(special) - len(again) - BEGUN
    if room < BEGUN:
        raise EngineError(f"a passage of {count} tokens holds no text to copy")
    body = (text * (1 + room // len(text)))[:room]
    return [*special, *body, *again, *body[:BEGUN]]
