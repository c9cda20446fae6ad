"""The weather: questions and answers in the notation of `intents`."""

TEXT = """
# wear weather
? what [do|should|can] i wear when {when}
? what do you wear when {when}
? [what|which] clothes are good when {when}
? when {when}, what [do|should] i wear
? {when}, what [do|should] i wear
~ what [to|i should] wear when {when}
> and when {when}
> [what|how] about when {when}
> and what do i wear when {when}
= When {when}, wear {thing}.
= Wear {thing} when {when}.
! {key}
d When {when}, people in the house wear {thing}.
why Because {because}.
whykey {bkey}
- rain: when=it rains; thing=a raincoat and boots; key=raincoat; because=wet socks make nobody happy; bkey=socks
- snow: when=it snows; thing=a scarf and mittens; key=mittens; because=cold fingers drop the tea cup; bkey=fingers
- sun: when=the sun shines; thing=a straw hat; key=hat; because=a red nose is good for tomatoes only; bkey=nose
- wind: when=the wind blows; thing=a thick jacket; key=jacket; because=the wind creeps into every sleeve; bkey=sleeve
- fog: when=it is foggy; thing=a bright vest; key=vest; because=people must see you in the fog; bkey=see
- ice: when=there is ice; thing=shoes with spikes; key=spikes; because=ice is a slide nobody ordered; bkey=slide

# do weather
? what [do|can|should] we do when {when}
? what [do|can] you do when {when}
? what is fun when {when}
? when {when}, what can we do
? what is a good plan when {when}
~ what we can do when {when}
> and what do we do when {when}
> what can we do when {when}
= When {when}, we {act}.
= We {act} when {when}. It is great fun.
! {key}
d When {when}, the children {act}.
- rain: when=it rains; act=read books by the stove; key=books
- snow: when=it snows; act=build a snowman; key=snowman
- sun: when=the sun shines; act=have a picnic on the grass; key=picnic
- wind: when=the wind blows; act=fly the purple kite; key=kite
- fog: when=it is foggy; act=play with the lantern; key=lantern
- storm: when=there is a storm; act=stay inside and play cards; key=cards

# weather_now weather
? what is the weather [like|] [today|now|outside]
? how is the weather [today|outside|]
? is it [raining|sunny|cold|warm] [outside|today]
? will it [rain|snow] [today|tomorrow]
~ what the weather is like
= I cannot see outside. Please look out of the window for me.
= I do not know. Please look out of the window and tell me.
! window

# rain_from weather
? where does [the|] rain come from
? what makes [the|] rain
? what is rain made of
? where does all this water in the sky come from
~ where [the|] rain comes from
~ what makes [the|] rain
= Rain falls from dark clouds.
= It comes from the clouds, when they are full.
! clouds
d Rain falls from dark clouds.

# snow_is weather
? what is snow [made of|]
? why is snow cold
? what are snowflakes [made of|]
? how is snow made
~ what snow is [made of|]
~ how snow is made
= Snow is frozen water, in very small stars.
= It is frozen water that falls like small stars.
! frozen
d Snow is frozen water.

# rainbow weather
? what makes a rainbow
? how is a rainbow made
? when [can i see|is there] a rainbow
? where does a rainbow come from
~ how a rainbow is made
~ when i can see a rainbow
= You need sun and rain together for a rainbow.
= A rainbow needs sun and rain together.
! together
d Sun and rain together make a rainbow.

# barrel weather
? where does the rain go
? what do you do with the rain
? where do you keep the rain [water|]
? who needs the rain
? what is rain good for
~ where the rain goes
~ what rain is good for
= The rain fills the barrel, and the barrel waters the garden.
= It fills the barrel behind the house for the garden.
! barrel garden
d The rain fills the barrel behind the house.
why Because the beans drink rain water best.
whykey beans

# how_warm weather
? how do you know the weather
? how do you know how warm it is
? what tells you how warm it is
? how do you feel the weather
? which sensor tells you the weather
~ how you know the weather
= The sensor on the roof tells me how warm it is.
= I ask the sensor on the roof.
! sensor roof
d The sensor on the roof tells how warm it is.

# wind_turn weather
? what does the wind do
? what is the wind good for
? who likes the wind
? what turns in the wind
? what moves in the wind
~ what the wind does
~ what the wind is good for
= The wind dries the shirts and lifts the kite.
= It lifts the kite and dries the shirts on the line.
! shirts kite
d The wind dries the shirts and lifts the kite.
"""
