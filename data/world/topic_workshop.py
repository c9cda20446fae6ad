"""The workshop and its rover: questions and answers in the notation of `intents`."""

TEXT = """
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
= You use a {s} for {use}.
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
. tell me about the rover
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
! six wheels
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
"""
