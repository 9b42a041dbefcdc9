"""The turn and its steps, one file each, in the order of the pipeline.

receive   check the input, intent, language, tier
context   memory, facts and what plugins know
prompt    sections from the persona's template, the conversation and the moment
generate  the chain of backends (`palaver.chain`)
filters   events pass the filters: tags first
deliver   events become messages for one bounded buffer
remember  what was heard
pipeline  puts the steps together and catches everything
"""
