"""The weather, the garden, the animals and the seasons: questions and answers in the notation of `intents`."""

TEXT = """
# wear weather
? what [do|should|can] i wear when {when}
? what do you wear when {when}
? what [clothes are|is] good when {when}
? when {when}, what [do|should] i wear
? {when}, what [do|should] i wear
~ what [to|i should] wear when {when}
> and when {when}
> [what about|what] when {when}
> and what do i wear when {when}
= When {when}, wear {thing}.
= Wear {thing} when {when}.
! {key}
d When {when}, people in the house wear {thing}.
why Because {because}.
whykey {bkey}
- rain: when=it rains; thing=a raincoat and boots; key=raincoat; because=wet socks make nobody happy; bkey=socks
- snow: when=it snows; thing=a scarf and mittens; key=mittens; because=cold fingers cannot hold a cup of tea; bkey=fingers
- sun: when=the sun shines; thing=a straw hat; key=hat; because=a red nose is good for tomatoes only; bkey=nose
- wind: when=the wind blows; thing=a thick jacket; key=jacket; because=the wind creeps into every sleeve; bkey=sleeve
- fog: when=it is foggy; thing=a bright vest; key=vest; because=people must see you in the fog; bkey=see
- ice: when=there is ice; thing=shoes with spikes; key=spikes; because=ice is a slide that you did not order; bkey=slide

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

# grow garden
? where [do|can] {s} grow
? where [do you grow|are] [the|] {s} [in the garden|]
? where can i find the {s}
? in which place do {s} grow
~ where [the|] {s} grow
> and [the|] {s}
> [what|how] about [the|] {s}
> and where do [the|] {s} grow
= {S} grow {where}.
= The {s} grow {where}. They like it there.
! {key}
d The {s} grow {where}.
- tomatoes: s=tomatoes; where=by the warm wall; key=wall
- beans: s=beans; where=on long poles; key=poles
- carrots: s=carrots; where=deep in the sand; key=sand
- strawberries: s=strawberries; where=under the apple tree; key=tree
- pumpkins: s=pumpkins; where=on the compost; key=compost
- herbs: s=herbs; where=in pots by the door; key=pots
- lilies: s=lilies; where=in the pond; key=pond

# ripe garden
? when [are|can we eat] the {s} [ripe|ready]
? when do we pick the {s}
? when can i pick the {s}
? in which month do we pick the {s}
~ when the {s} are [ripe|ready]
> and when are the {s} ripe
> when do we pick the {s}
= The {s} are ripe in {month}.
= We pick the {s} in {month}.
! {key}
d In {month} the {s} are ripe.
- strawberries: s=strawberries; month=June; key=june
- beans: s=beans; month=July; key=july
- tomatoes: s=tomatoes; month=August; key=august
- apples: s=apples; month=September; key=september
- pumpkins: s=pumpkins; month=October; key=october

# watering garden
? when do you water the [garden|plants|tomatoes]
? when [do|should] i water the [garden|plants|tomatoes]
? what is the best time to water the [garden|plants]
? at what time do the plants get water
~ when to water the [garden|plants|tomatoes]
= Water the plants in the evening, when the sun is low.
= In the evening. Then the soil stays wet all night.
! evening
d Grandma waters the garden in the evening.
why Because the sun drinks the water at noon.
whykey noon

# plants_need garden
? what do [plants|the plants|tomatoes] need
? what do [plants|tomatoes] need to grow
? how do plants grow
? what helps the plants
? what makes plants [strong|grow]
~ what [plants|tomatoes] need to grow
= They need sun, water and good soil.
= Plants need sun, water, good soil and kind words.
! sun water soil
d All plants need sun, water and good soil.

# soil garden
? what makes the soil good
? how do i get good soil
? what does the soil need
? what do you put on the soil
? what is good for the soil
~ what the soil needs
~ what makes the soil good
= Compost makes the soil dark and rich.
= Old leaves and compost. Plants think it is cake.
! compost
d Compost makes the soil dark and rich.

# seeds garden
? when do you [plant|sow] [the|] seeds
? when [do|should] i [plant|sow] [the|] seeds
? what is the best time [to sow|for seeds]
? when do [the|] seeds go into the soil
~ when to [plant|sow] [the|] seeds
= Sow the seeds in April, when the soil is warm.
= In April, when the soil is no longer cold.
! april
d In April the children sow the seeds.

# slugs garden
? what [can|do] you do against slugs
? how do i stop the slugs
? who helps against slugs
? what helps against slugs
? who eats the salad at night
~ what helps against slugs
= Ask the hedgehog. Slugs are his favourite dinner.
= Call Prickles the hedgehog. He loves slugs for dinner.
! hedgehog
d Slugs are the favourite dinner of the hedgehog.

# bees_make garden
? what do [the|] bees [make|do]
? what are [the|] bees good for
? why do you like [the|] bees
? why are bees [good|important]
? what do bees do in the garden
~ what [the|] bees [make|do]
= The bees visit the flowers and make honey.
= They make honey and help the flowers.
! honey flowers
d The bees visit the flowers and make honey.

# worms garden
? what do [the|] worms do
? what are [the|] worms good for
? who digs in the soil
? who makes holes in the soil
? why do you like [the|] worms
~ what [the|] worms do
~ who digs in the soil
= Worms dig small tunnels, so the roots can breathe.
= The worms dig tunnels. They are tiny rovers.
! worms tunnels
d The worms dig small tunnels in the soil.

# scarecrow garden
? who guards the garden
? who [watches|looks after] the [garden|seeds]
? do you have a scarecrow
? what keeps the birds away
? who scares the birds
~ who guards the garden
= Our scarecrow guards the garden in the old coat of Uncle Otto.
= The scarecrow does it. He wears the old coat of Uncle Otto.
! scarecrow coat
d The scarecrow wears the old coat of Uncle Otto.

# animal_name animals
? what is the name of the {s}
? what is the {s} called
? does the {s} have a name
? how do you call the {s}
~ what the {s} is called
~ the name of the {s}
> and the {s}
> and what is the {s} called
> what about the {s}
= The {s} is called {n}.
= The name of the {s} is {n}.
! {key}
d The {s} is called {n}.
- cat: s=cat; n=Miso; key=miso
- hedgehog: s=hedgehog; n=Prickles; key=prickles
- rover: s=rover; n=Dot; key=dot
- frog: s=frog; n=Sir Hop; key=hop
- owl: s=owl; n=Professor Hoot; key=professor

# animal_eats animals
? what {do} {s} eat
? what is the food of {s}
? what can i give {s} to eat
? what {do} {s} like to eat
? what is the favourite [food|dinner] of {s}
~ what {s} {eat}
> and {s}
> what about {s}
> and what {do} {s} eat
= {S} {eat} {food}.
= {S} {love} {food} for dinner.
! {key}
d {S} {eat} {food}.
- cat: s=the cat; do=does; eat=eats; love=loves; food=fish; key=fish
- hedgehog: s=the hedgehog; do=does; eat=eats; love=loves; food=slugs; key=slugs
- birds: s=the birds; do=do; eat=eat; love=love; food=seeds; key=seeds
- frog: s=the frog; do=does; eat=eats; love=loves; food=flies; key=flies
- owl: s=the owl; do=does; eat=eats; love=loves; food=mice; key=mice
- rabbit: s=the rabbit; do=does; eat=eats; love=loves; food=carrots; key=carrots

# sleeps animals
? where {do} {s} sleep
? where {do} {s} live
? where is the [bed|home] of {s}
? where can i find {s} at night
? where {do} {s} stay at night
~ where {s} {sleep}
> and where {do} {s} sleep
> where {do} {s} sleep
= {S} {sleep} {where}.
= You find {s} {where}.
! {key}
d {S} {sleep} {where}.
- cat: s=the cat; do=does; sleep=sleeps; where=in the laundry basket; key=laundry
- hedgehog: s=the hedgehog; do=does; sleep=sleeps; where=under a pile of leaves; key=leaves
- birds: s=the birds; do=do; sleep=sleep; where=in their nests; key=nests
- frog: s=the frog; do=does; sleep=sleeps; where=under the lilies; key=lilies
- owl: s=the owl; do=does; sleep=sleeps; where=in the hollow oak; key=oak
- bees: s=the bees; do=do; sleep=sleep; where=in the hive; key=hive
- rover: s=the rover; do=does; sleep=sleeps; where=under the workbench; key=workbench
- rabbit: s=the rabbit; do=does; sleep=sleeps; where=in a deep burrow; key=burrow

# sound animals
? what does the {s} say
? what sound does the {s} make
? how does the {s} sound
? which sound does the {s} make
? what noise does the {s} make
~ what [sound|noise] the {s} makes
> and the {s}
> and what does the {s} say
> what about the {s}
= The {s} says {sound}.
= {Sound}! That is how the {s} sounds.
! {sound}
d The {s} says {sound}.
- cat: s=cat; sound=meow
- bird: s=bird; sound=tweet
- frog: s=frog; sound=croak
- bee: s=bee; sound=buzz
- owl: s=owl; sound=hoo
- rover: s=rover; sound=beep
- kettle: s=kettle; sound=whistle
- sheep: s=sheep; sound=baa

# legs animals
? how many legs [does|has] {s} [have|]
? how many legs are there on {s}
? on how many legs does {s} walk
~ how many legs {s} has
> and how many legs has {s}
> and {s}
= {S} has {n} legs.
= {N} legs, if I count right.
! {n}
d {S} has {n} legs.
- cat: s=a cat; n=four
- bird: s=a bird; n=two
- bee: s=a bee; n=six
- spider: s=a spider; n=eight
- worm: s=a worm; n=no

# milk animals
? who drinks [the|] milk
? who likes milk
? who gets the milk
? for whom is the milk
? who [stole|drank] the milk
~ who drinks the milk
~ who gets the milk
= Miso drinks the milk. She says it is hers.
= The milk is for Miso, and she knows it.
! miso
d Miso drinks all the milk.

# night_animal animals
? who is awake at night
? who walks in the garden at night
? which animal is awake at night
? who [comes out|gets up] at night
? who makes noise in the garden at night
~ who is awake at night
~ who walks in the garden at night
= The owl and the hedgehog are awake at night.
= At night the owl sings and the hedgehog walks.
! owl hedgehog
d At night the owl and the hedgehog are awake.

# winter_animal animals
? who sleeps [all|in the] winter
? which animal sleeps [all|in the] winter
? what does the hedgehog do in [the|] winter
? where is the hedgehog in [the|] winter
~ who sleeps all winter
~ what the hedgehog does in winter
= The hedgehog sleeps all winter, until the first warm day.
= Prickles the hedgehog sleeps until spring. What a nap!
! hedgehog sleeps
d The hedgehog sleeps all winter.

# miso_do animals
? what does miso do [all day|]
? what is miso like
? is miso a good cat
? what does miso like
? tell me about miso
~ what miso does all day
~ what miso is like
= Miso purrs, naps and knocks down one cup a day.
= She naps all day and then knocks a cup off the table.
! naps cup
d Miso naps all day and knocks down one cup.

# season seasons
? what happens in {s}
? what do we do in {s}
? what is {s} like
? what do you like about {s}
? what is nice about {s}
? why do you like {s}
~ what happens in {s}
~ what {s} is like
> and in {s}
> and {s}
> what about {s}
= In {s} {what}.
= In {s}, you know, {what}. I like it.
! {key}
d In {s} {what}.
- spring: s=spring; what=the first flowers wake up; key=flowers
- summer: s=summer; what=we pick red tomatoes; key=tomatoes
- autumn: s=autumn; what=the leaves fall and we bake apple pie; key=leaves
- winter: s=winter; what=snow covers the garden; key=snow

# daytime seasons
? what happens {s}
? what do we do {s}
? what do you do {s}
? what is nice {s}
~ what happens {s}
~ what we do {s}
> and {s}
> and what happens {s}
> what about {s}
= {S} {what}.
= {What} {s}.
! {key}
d {S} {what}.
- morning: s=in the morning; what=Grandma bakes the bread; key=bakes
- noon: s=at noon; what=we eat hot soup; key=soup
- afternoon: s=in the afternoon; what=we drink tea with honey; key=tea
- evening: s=in the evening; what=we water the plants; key=water
- midnight: s=at midnight; what=the owl counts the stars; key=stars

# season_next seasons
? what comes after {s}
? which season comes after {s}
? what season is after {s}
? when {s} is over, what comes next
~ which season comes after {s}
> and after {s}
> and what comes after {s}
= After {s} comes {t}.
= {T} comes after {s}.
! {t}
d After {s} comes {t}.
- spring: s=spring; t=summer
- summer: s=summer; t=autumn
- autumn: s=autumn; t=winter
- winter: s=winter; t=spring

# day_next seasons
? what [day|] comes after {s}
? which day comes after {s}
? what day is after {s}
? today is {s}, what is tomorrow
? if today is {s}, what day is tomorrow
~ which day comes after {s}
> and after {s}
> and what comes after {s}
= After {s} comes {t}.
= {T} comes after {s}.
! {low}
d After {s} comes {t}.
- monday: s=Monday; t=Tuesday; low=tuesday
- tuesday: s=Tuesday; t=Wednesday; low=wednesday
- wednesday: s=Wednesday; t=Thursday; low=thursday
- thursday: s=Thursday; t=Friday; low=friday
- friday: s=Friday; t=Saturday; low=saturday
- saturday: s=Saturday; t=Sunday; low=sunday
- sunday: s=Sunday; t=Monday; low=monday

# moon seasons
? when does the moon come [out|]
? when can i see the [moon|stars]
? when do the stars come out
? where is the moon [now|]
? who sees the moon first
~ when the moon comes out
~ when i can see the [moon|stars]
= The moon comes when it is dark, above the old oak.
= When it is dark, look above the oak.
! dark oak
d When it is dark, the moon stands above the oak.

# sunrise seasons
? who wakes you [up|] in the morning
? what wakes you [up|]
? who sings in the morning
? who is the first in the morning
? what do i hear in the morning
~ who wakes you up
~ who sings in the morning
= The birds wake me with a song at six.
= The birds sing at six, and nobody asked them.
! birds six
d The birds sing at six in the morning.
"""
