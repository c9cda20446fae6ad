"""Seasons and the times of day: questions and answers in the notation of `intents`."""

TEXT = """
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
