"""The kitchen, the workshop with its rover, and counting: questions and answers in the notation of `intents`."""

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
! {n}
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
= You find the {s} {where}.
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
? whose job is it, who {does}
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

# what_for workshop
? what is a {s} for
? what do i need a {s} for
? what [do you do|can i do] with a {s}
? what is a {s} good for
? why do you have a {s}
~ what a {s} is [good|] for
> and a {s}
> and what is a {s} for
> what about a {s}
= A {s} is for {use}.
= With a {s} you can take care of {use}.
! {key}
d A {s} is for {use}.
- hammer: s=hammer; use=nails; key=nails
- screwdriver: s=screwdriver; use=screws; key=screws
- saw: s=saw; use=wood; key=wood
- broom: s=broom; use=dust; key=dust
- needle: s=needle; use=holes in socks; key=socks
- ladder: s=ladder; use=high places; key=high
- bucket: s=bucket; use=water; key=water

# colour workshop
? what [colour|color] [is|has] {s}
? which [colour|color] [is|has] {s}
? what is the [colour|color] of {s}
? in which [colour|color] did you paint {s}
~ what [colour|color] {s} [is|has]
~ the [colour|color] of {s}
> and {s}
> what about {s}
> and what [colour|color] is {s}
= {S} is {c}.
= It is {c}. Yes, {s} is really {c}.
! {c}
d {S} is {c}.
- rover: s=the rover; c=blue
- door: s=the door; c=yellow
- cat: s=the cat; c=grey
- kettle: s=the kettle; c=black
- kite: s=the kite; c=purple
- roof: s=the roof; c=red
- fence: s=the fence; c=white
- boat: s=the boat; c=orange
- sofa: s=the sofa; c=brown
- bike: s=the bike; c=green

# light workshop
? what does {c} light mean
? what does the {c} light mean
? the light is {c}, what does [it|that] mean
? why is the light {c}
? what is the {c} light for
. the light is {c}
~ what the {c} light means
~ why the light is {c}
> and {c}
> and the {c} light
> what about {c}
= {C} light means {m}.
= {C} means that {m}.
! {key}
d {C} light means {m}.
- green: c=green; m=all is well; key=well
- red: c=red; m=the battery is empty; key=empty
- yellow: c=yellow; m=the battery is charging; key=charging
- blue: c=blue; m=somebody sends a message; key=message
- white: c=white; m=the rover is thinking; key=thinking

# rover_is workshop
? what is the rover
? what is a rover
? who is dot
? tell me about the rover
? what can the rover do
? what does the rover do [all day|]
~ what the rover is
~ what the rover can do
= Dot is our small rover. She carries tomatoes to the kitchen.
= The rover carries tomatoes to the kitchen, slowly but proudly.
! carries tomatoes
d The rover carries tomatoes from the garden to the kitchen.

# rover_wheels workshop
? how many wheels does the rover have
? how many wheels has the rover
? how many wheels are there on the rover
? on how many wheels does the rover drive
? does the rover have legs
~ how many wheels the rover has
= The rover has six wheels. One of them squeaks.
= Six wheels, and one of them squeaks.
! six
d The rover has six wheels, and one of them squeaks.

# rover_charge workshop
? how does the rover charge [its battery|]
? how do you charge the [rover|battery]
? where does the rover get its power
? what charges the [rover|battery]
? what gives the rover power
~ how the rover charges [its battery|]
~ what charges the battery
= The solar panel charges the battery of the rover.
= It rests beside the solar panel until the battery is full.
! solar_panel battery
d The solar panel charges the battery of the rover.
why Because sunshine is free and the cable is short.
whykey sunshine

# rover_dark workshop
? what does the rover do without sun
? does the rover work [at night|without sun|when it is dark]
? can the rover drive at night
? what happens to the rover when there is no sun
? what does the rover do when the battery is empty
~ what the rover does without sun
= Without sun the rover stops and waits for the morning.
= It stops and waits for the next morning.
! stops waits
d Without sun the rover stops and waits.
why Because an empty battery moves no wheels.
whykey wheels

# rover_see workshop
? how does the rover see
? how does the rover find its way
? why does the rover not hit the wall
? what does the rover do at a wall
? does the rover have eyes
~ how the rover sees
~ how the rover finds its way
= Its sensor feels the wall, and then it turns around.
= The rover has a sensor and turns before a wall.
! sensor wall
d The sensor of the rover feels a wall.

# rover_fast workshop
? how fast is the rover
? is the rover [fast|slow]
? how fast can the rover [go|drive]
? can the rover win a race
? is the rover faster than the cat
~ how fast the rover is
~ if the rover is [fast|slow]
= As fast as a turtle, but a turtle in a hurry.
= The rover is a turtle with wheels.
! turtle
d The rover is as fast as a turtle in a hurry.

# rover_stuck workshop
? what [should|can] i do when the rover is stuck
? the rover is stuck, what now
? the rover does not move, what can i do
? how do i help the rover
. the rover [is stuck|does not move]
. something is wrong with the rover
~ what to do when the rover is stuck
= Lift it gently and clean the wheels.
= Clean the wheels. There is always a bean in there.
! clean wheels
d When the rover is stuck, somebody must clean the wheels.

# panel workshop
? where is the solar panel
? what does the solar panel [do|need]
? what is [the|a] solar panel for
? how does the solar panel work
? what is on the roof
~ what the solar panel [does|needs]
~ where the solar panel is
= The solar panel is on the roof and turns sun into power.
= It turns sun into power, up on the roof.
! roof sun power
d The solar panel on the roof turns sun into power.

# workshop_is workshop
? where is the workshop
? where do you [build|make] [robots|things]
? where do i find the tools
? in which room are the tools
? where does aunt pearl work
~ where the workshop is
~ where the tools are
= The workshop is in the old garage.
= In the garage, behind the bikes.
! garage
d The workshop is in the old garage.

# robot_build workshop
? how do i build a robot
? what do i need for a robot
? can i build a robot
? how do you make a rover
? what does a robot need
~ how to build a robot
~ what a robot needs
= Take wheels, a battery, a sensor and a lot of tape.
= You need wheels, a battery and tape. Much tape.
! battery tape
d A robot needs wheels, a battery and a lot of tape.

# opposite counting
? what is the opposite of {s}
? what is the other word for not {s}
? what is not {s}
? something is not {s}, what is it
~ the opposite of {s}
> and the opposite of {s}
> and of {s}
= The opposite of {s} is {t}.
= {T}, because {t} is not {s}.
! {t}
d The opposite of {s} is {t}.
- hot: s=hot; t=cold
- cold: s=cold; t=hot
- big: s=big; t=small
- small: s=small; t=big
- wet: s=wet; t=dry
- dry: s=dry; t=wet
- fast: s=fast; t=slow
- slow: s=slow; t=fast
- old: s=old; t=new
- new: s=new; t=old
- happy: s=happy; t=sad
- sad: s=sad; t=happy
- full: s=full; t=empty
- empty: s=empty; t=full
"""

_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def counting() -> str:
    """The number questions: what comes after and before a number, and small sums."""
    after = [f"- {_WORDS[n]}: s={_WORDS[n]}; t={_WORDS[n + 1]}" for n in range(1, 12)]
    before = [f"- {_WORDS[n]}: s={_WORDS[n]}; t={_WORDS[n - 1]}" for n in range(2, 13)]
    sums = [
        f"- {_WORDS[a]}_{_WORDS[b]}: a={_WORDS[a]}; b={_WORDS[b]}; c={_WORDS[a + b]}"
        for a in range(1, 6)
        for b in range(1, 6)
    ]
    return "\n".join(
        [
            "# after counting",
            "? [what|which number] comes after {s}",
            "? what number is after {s}",
            "? what is the next number after {s}",
            "~ [what|which number] comes after {s}",
            "~ the number after {s}",
            "> and after {s}",
            "= After {s} comes {t}.",
            "= {T} comes after {s}.",
            "! {t}",
            "d After {s} comes {t}.",
            *after,
            "# before counting",
            "? [what|which number] comes before {s}",
            "? what number is before {s}",
            "? what is the number before {s}",
            "~ [what|which number] comes before {s}",
            "~ the number before {s}",
            "> and before {s}",
            "= Before {s} comes {t}.",
            "= {T} comes before {s}.",
            "! {t}",
            "d Before {s} comes {t}.",
            *before,
            "# plus counting",
            "? what is {a} plus {b}",
            "? how much is {a} [plus|and] {b}",
            "? what do you get for {a} plus {b}",
            "? can you add {a} and {b}",
            "~ what {a} plus {b} is",
            "~ how much {a} plus {b} is",
            "> and {a} plus {b}",
            "= {A} plus {b} is {c}.",
            "= {A} and {b} make {c}.",
            "! {c}",
            "d {A} plus {b} is {c}.",
            *sums,
        ]
    )
