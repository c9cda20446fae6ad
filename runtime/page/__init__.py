"""The chat page: one HTML file, assembled from modules, with a server or a model behind it.

Files:
    assembly.py  from the sources to one page, and the policy under which it runs

Sources of the page:
    page.html             its elements
    page.css              its looks
    main.js               puts the modules together
    dom.js                elements, icons, buttons, focus
    storage.js            small things that the browser keeps
    store.js              where conversations are kept
    keeping.js            keeps things, and says so where there is no room
    state.js              what is shown and done at present, and the settings
    conversations.js      what a conversation is, and what of it is sent
    versions.js           several replies to one message
    dates.js              times as people say them
    speech.js             what a screen reader is told
    notices.js            notices and the state line
    scrolling.js          the end stays in view
    markdown.js           Markdown as elements
    messages.js           shows the conversation
    edit_drafts.js        a change that is not saved yet stays with its conversation
    editor.js             a message that is being changed, in its place
    editing.js            edit, delete, send again, another version
    context_meter.js      how much of the context is in use
    conversation_list.js  shows the list of conversations
    search.js             finds conversations
    drawer.js             the list on narrow screens
    copying.js            to the clipboard
    exporting.js          to a file
    importing.js          from files
    archive.js            reads ZIP archives
    foreign_forms.js      what ChatGPT, Open WebUI and ShareGPT export
    connection.js         which model answers, and whether it can be reached
    key_dialog.js         asks for the API key
    reply.js              asks for a reply and shows it as it comes
    composer.js           the message field and its drafts
    sampling_settings.js  names, ranges and fields of the sampling settings
    settings_dialog.js    settings
    backend_error.js      why there is no reply
    backend_server.js     replies from `tinylm serve`, and what a backend is
    backend_local.js      replies from a model in the page: `tinylm export --web`
"""
