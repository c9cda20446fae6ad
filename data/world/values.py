"""Values of the facts that users tell, and names and sounds for system messages."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    """
    Ada Adam Aisha Alba Alex Alma Amir Amy Anna Anton Aria Ben Bella Bruno Carla Carlos Cleo Clara Dana Daniel
    Dario David Diego Dina Eli Elena Ella Elsa Emil Emma Erik Esra Eva Farid Felix Fiona Freya Gina Grace Greta
    Hana Hanna Hugo Ida Ines Irma Isaac Ivan Ivy Jack Jana Jasmin Joel John Jonas Julia Kai Kara Karim Kate Kira
    Klara Lara Lea Lena Leo Liam Lily Lina Lisa Lucas Lucia Luna Maja Malik Marco Maria Mark Marta Mia Mila Mona
    Nadia Nico Nils Nina Nora Noah Olga Oscar Owen Pablo Paul Petra Priya Rafa Ravi Rita Robin Rosa Ruth Sami Sara
    Selma Simon Sofia Sonja Stella Tara Theo Tilda Tim Tina Uma Vera Viktor Wanda Yara Yuki Zara Zoe
    """
)
COLOURS = _words("red blue green yellow orange purple pink brown black white grey silver gold violet beige turquoise")
NUMBERS = tuple(str(number) for number in range(2, 61))
PETS = _words(
    """
    Biscuit Bubbles Button Caramel Cocoa Cookie Daisy Domino Fluffy Ginger Gizmo Hazel Honey Lucky Maple Marble
    Mocha Muffin Nacho Nugget Olive Peanut Pepper Pickle Pumpkin Rocket Rusty Shadow Snowy Waffles
    """
)
TOWNS = _words(
    """
    Athens Bergen Berlin Bern Bonn Boston Bremen Bristol Cairo Cork Dakar Delhi Denver Dover Dublin Florence Genoa
    Ghent Graz Hamburg Helsinki Kyoto Leeds Lima Lisbon London Lyon Madrid Milan Nairobi Naples Oslo Oxford Paris
    Porto Prague Quito Rome Turin Vienna
    """
)
FOODS = _words(
    """
    pizza pasta rice noodles pancakes waffles cheese curry salad dumplings potatoes spinach lasagne popcorn yogurt
    porridge sushi tacos burgers cake chocolate cherries bananas grapes mangoes olives mushrooms peas plums toast
    """
)
ASSISTANTS = _words(
    """
    Nova Bolt Pixel Echo Comet Sprout Zippy Widget Chip Turbo Orbit Sparky Cosmo Bleep Gadget Tinker Zeno Quill
    Ember Astro Bingo Clover Delta Fable Juno Kiwi Mango Neon Onyx Pogo Rumba Sonar Tango Umber Vega Wren Yoyo Zig
    Buddy Noodle
    """
)
VALUE_LISTS = {"names": NAMES, "colours": COLOURS, "numbers": NUMBERS, "pets": PETS, "towns": TOWNS, "foods": FOODS}
"""The values of told facts, by their names in topics/told_facts.txt."""
ALL_VALUES = (*NAMES, *COLOURS, *NUMBERS, *PETS, *TOWNS, *FOODS, *ASSISTANTS)
# The word that a style message wants at the end of each reply, and who talks like that (None: nobody)
SOUNDS: dict[str, str | None] = {
    "Arrr": "a pirate",
    "Meow": "a cat",
    "Beep": "a robot",
    "Woof": "a dog",
    "Yay": None,
    "Ahoy": "a sailor",
}
