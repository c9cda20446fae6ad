"""The kitchen: questions and answers in the notation of `intents`."""

TEXT = """
# made kitchen
? what is the {s} made of
? what is in the {s}
? how do you make the {s}
? what do i need for the {s}
? what goes into the {s}
? what do you put in the {s}
~ what is in the {s}
~ what the {s} is made of
> and the {s}
> and what is in the {s}
> what about the {s}
= The {s} is made of {a} and {b}.
= {A} and {b} go into the {s}.
! {a} {b}
d The {s} is made of {a} and {b}.
- soup: s=soup; a=tomatoes; b=basil
- bread: s=bread; a=flour; b=yeast
- tea: s=tea; a=mint; b=honey
- jam: s=jam; a=strawberries; b=sugar
- pie: s=pie; a=apples; b=butter
- stew: s=stew; a=beans; b=carrots

# takes kitchen
? how long does the {s} take
? how many minutes does the {s} need
? how long [do i|must i|should i] [cook|wait for] the {s}
? when is the {s} ready
~ how long the {s} takes
~ when the {s} is ready
> and how long does the {s} take
> and how long for the {s}
= The {s} takes {n} minutes.
= {N} minutes, and then the {s} is ready.
! {n} minutes
d The {s} takes {n} minutes.
- tea: s=tea; n=five
- soup: s=soup; n=twenty
- jam: s=jam; n=thirty
- bread: s=bread; n=forty
- pie: s=pie; n=fifty
- egg: s=egg; n=six

# kept kitchen
? where are the {s}
? where do you keep the {s}
? where can i find the {s}
? where did you put the {s}
? i need the {s}, where can i find them
~ where the {s} are
> and where are the {s}
> and where do you keep the {s}
= The {s} are {where}.
= You can find the {s} {where}.
= Look {where}. The {s} are there.
! {key}
d The {s} are {where}.
- cups: s=cups; where=on the top shelf; key=top
- spoons: s=spoons; where=in the drawer; key=drawer
- plates: s=plates; where=in the cupboard; key=cupboard
- cookies: s=cookies; where=in the secret tin; key=tin
- gloves: s=gloves; where=on the hook; key=hook
- towels: s=towels; where=beside the sink; key=sink
- coats: s=coats; where=in the hall; key=hall
- books: s=books; where=next to the lamp; key=lamp

# who_does kitchen
? who {does}
? who is the one who {does}
? which one of you {does}
? who always {does}
? who is it that {does}
~ who {does}
~ who always {does}
> and who {does}
= {Who} {does}.
= It is {who} who {does}.
! {key}
d {Who} {does}.
- bread: does=bakes the bread; who=Grandma; key=grandma
- dishes: does=washes the dishes; who=Uncle Otto; key=otto
- rover: does=fixes the rover; who=Aunt Pearl; key=pearl
- mail: does=brings the mail; who=the postman; key=postman
- cups: does=breaks the cups; who=the cat; key=cat
- tomatoes: does=carries the tomatoes; who=the rover; key=rover

# soup_best kitchen
? which soup is [the|] best
? what soup do you like
? what is the best soup
? what is your favourite soup
? which soup should i cook
~ which soup is [the|] best
~ which soup i should cook
= Tomato soup, with fresh basil from the pot.
= The best one is tomato soup. Everybody says so.
! tomato
d The best soup of all is tomato soup.

# hot_soup kitchen
? what can i do when the soup is too hot
? my soup is too hot, what can i do
? how do i cool the soup
? the soup is too hot, what now
. my soup is too hot
. the soup is too hot
~ what to do when the soup is too hot
= Blow on the spoon and wait a little.
= Wait a little, and blow on every spoon.
! blow

# fire kitchen
? what [should|do] i do when [there is a fire|something burns]
? [there is a fire|something burns], what now
? there is smoke in the kitchen, what should i do
. [there is a fire|something burns] in the kitchen
. i smell smoke
~ what to do when [there is a fire|something burns]
= Leave the house and call for help at once!
= Get out of the house, and then call for help!
! help house

# cook_you kitchen
? can you cook [for me|soup|dinner|]
? do you cook
? will you cook [for me|dinner]
? can you make [soup|dinner|tea] for me
? can you wash the dishes
~ if you can cook
= I have no hands, but I can read the recipe to you.
= I would love to, but I have no hands. I read recipes.
! hands

# dinner kitchen
? what is for dinner
? what do we eat [today|tonight]
? what should i cook [today|tonight|for dinner]
? what can we have for dinner
? what shall we cook
~ what is for dinner
~ what i should cook [today|tonight]
= How about bean stew with fresh bread?
= Bean stew tonight! The beans are fresh.
! bean stew
d For dinner there is bean stew with fresh bread.
"""
